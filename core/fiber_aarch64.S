/* SPDX-License-Identifier: GPL-2.0-or-later */
/* void fiber_ctx_switch(struct fiber_ctx *from, struct fiber_ctx *to)
 *
 * AAPCS64: x19 to x30 and the low halves of v8 to v15 belong to the caller. The first switch to a new
 * context returns into fiber_ctx_entry with the entry function in x19. */
	.text
	.globl	fiber_ctx_switch
	.hidden	fiber_ctx_switch
	.type	fiber_ctx_switch, %function
	.balign	16
fiber_ctx_switch:
	hint	#34			/* bti c */
	sub	sp, sp, #160
	stp	x19, x20, [sp, #0]
	stp	x21, x22, [sp, #16]
	stp	x23, x24, [sp, #32]
	stp	x25, x26, [sp, #48]
	stp	x27, x28, [sp, #64]
	stp	x29, x30, [sp, #80]
	stp	d8, d9, [sp, #96]
	stp	d10, d11, [sp, #112]
	stp	d12, d13, [sp, #128]
	stp	d14, d15, [sp, #144]
	mov	x9, sp
	str	x9, [x0]
	ldr	x9, [x1]
	mov	sp, x9
	ldp	x19, x20, [sp, #0]
	ldp	x21, x22, [sp, #16]
	ldp	x23, x24, [sp, #32]
	ldp	x25, x26, [sp, #48]
	ldp	x27, x28, [sp, #64]
	ldp	x29, x30, [sp, #80]
	ldp	d8, d9, [sp, #96]
	ldp	d10, d11, [sp, #112]
	ldp	d12, d13, [sp, #128]
	ldp	d14, d15, [sp, #144]
	add	sp, sp, #160
	ret
	.size	fiber_ctx_switch, .-fiber_ctx_switch

	.globl	fiber_ctx_entry
	.hidden	fiber_ctx_entry
	.type	fiber_ctx_entry, %function
	.balign	16
fiber_ctx_entry:
	hint	#36			/* bti j: reached by ret */
	mov	x29, xzr
	mov	x30, xzr
	blr	x19
	brk	#0
	.size	fiber_ctx_entry, .-fiber_ctx_entry

	.section	.note.GNU-stack, "", %progbits
