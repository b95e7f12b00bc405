/* SPDX-License-Identifier: GPL-2.0-or-later */
/* void fiber_ctx_switch(struct fiber_ctx *from, struct fiber_ctx *to)
 *
 * System V ABI: rbx, rbp, r12 to r15, the x87 control word and the control bits of mxcsr belong to
 * the caller; everything else is lost over any call. The first switch to a new context returns into
 * fiber_ctx_entry with the entry function in rbx. */
	.text
	.globl	fiber_ctx_switch
	.hidden	fiber_ctx_switch
	.type	fiber_ctx_switch, @function
	.balign	16
fiber_ctx_switch:
	.cfi_startproc
	endbr64
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	movq	%rsp, (%rdi)
	movq	(%rsi), %rsp
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%r15
	.cfi_adjust_cfa_offset -8
	popq	%r14
	.cfi_adjust_cfa_offset -8
	popq	%r13
	.cfi_adjust_cfa_offset -8
	popq	%r12
	.cfi_adjust_cfa_offset -8
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
	.size	fiber_ctx_switch, .-fiber_ctx_switch

	.globl	fiber_ctx_entry
	.hidden	fiber_ctx_entry
	.type	fiber_ctx_entry, @function
	.balign	16
fiber_ctx_entry:
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	xorl	%ebp, %ebp
	call	*%rbx
	ud2
	.cfi_endproc
	.size	fiber_ctx_entry, .-fiber_ctx_entry

	.section	.note.GNU-stack, "", @progbits
