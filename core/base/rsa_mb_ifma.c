/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The RSA kernel: eight modular exponentiations side by side, in vector lanes.
 *
 * A number is an array of rows, a row one digit of 52 bits of all lanes. Products are Montgomery's
 * with R = 2^(52 * digits), and "almost" so: R is over 2^15 times a prime, so a product of numbers
 * below 2p is again below 2p without a final subtraction (ab/R + p < 2p), and only what leaves a
 * pass is reduced fully. Row sums stay below 2^60 before carries are taken.
 *
 * The order of the work is for the multiplier, which is busy nearly always: accumulators in
 * registers, the carries of one product overlapping the next, and the full scan of the table of
 * powers spread over the squarings of the window before it is needed, where loads are free. The
 * same source is compiled a second time over emulated lanes (rsa_mb_lanes.h). */
#include "core/base/rsa_mb_lanes.h"

typedef rsa_mb_row row;

/* Entries looked at in one squaring: as many as there are mask registers. */
enum { SCANNED = 7 };

struct modulus {
	const row *digits;
	const row *k0;
};

/* A table look-up, a few entries at a time: all are read, the wanted ones kept. */
struct scan {
	const row (*table)[RSA_MB_ENTRIES];
	row *picked;
	unsigned first;
	lanes wanted;
};

/* Where a squaring begins its part of the scan; the last overlaps, which changes nothing. */
static const unsigned scan_from[RSA_MB_WINDOW_BITS] = { 0, 7, 14, 21, RSA_MB_ENTRIES - SCANNED };

#ifdef RSA_MB_EMULATED
#define KERNEL static
#define UNROLL
#else
#define KERNEL static __attribute__((noinline))
#define UNROLL _Pragma("GCC unroll 40")
#endif

/* --- Products, for any number of digits that is known at compile time --- */

LANES_INLINE void carry_out(int digits, row *out, const lanes *sums)
{
	const lanes digit = lanes_all(LANES_DIGIT);
	lanes carry = lanes_all(0);

	UNROLL
	for (int j = 0; j < digits; j++) {
		lanes sum = lanes_add(sums[j], carry);

		lanes_store(&out[j], lanes_and(sum, digit));
		carry = lanes_carry(sum);
	}
}

/* Of a sum whose digit will be made a multiple of 2^52 by adding less than that. */
LANES_INLINE lanes carry_of_cleared(lanes sum)
{
	return lanes_carry(lanes_add(sum, lanes_all(LANES_DIGIT)));
}

/* out = a b / R mod p. Only one digit of b is needed at a time, so b had better be the number that
 * was made last. */
LANES_INLINE void multiply(int digits, row *out, const row *a, const row *b,
	const struct modulus *mod)
{
	lanes sums[RSA_MB_DIGITS_MAX], k0 = lanes_load(mod->k0), zero = lanes_all(0);
	const row *n = mod->digits;

	UNROLL
	for (int j = 0; j < digits; j++)
		sums[j] = zero;
#pragma GCC unroll 1
	for (int i = 0; i < digits; i++) {
		a = lanes_afresh(a);
		n = lanes_afresh(n);
		lanes by = lanes_load(&b[i]), aj = lanes_load(&a[0]), nj = lanes_load(&n[0]);
		lanes lowest = lanes_low(sums[0], aj, by), m = lanes_low(zero, lowest, k0);
		lanes carry = carry_of_cleared(lowest);

		UNROLL
		for (int j = 0; j < digits - 1; j++) {
			lanes sum = lanes_high(sums[j + 1], aj, by);

			aj = lanes_held(lanes_load(&a[j + 1]));
			sum = lanes_high(lanes_low(sum, aj, by), m, nj);
			nj = lanes_held(lanes_load(&n[j + 1]));
			sums[j] = lanes_low(sum, m, nj);
		}
		sums[digits - 1] = lanes_high(lanes_high(zero, aj, by), m, nj);
		sums[0] = lanes_add(sums[0], carry);
	}
	carry_out(digits, out, sums);
}

LANES_INLINE void scan_row(const struct scan *scan, const mask *hits, int i)
{
	lanes picked = lanes_load(&scan->picked[i]);

	UNROLL
	for (int k = 0; k < SCANNED; k++)
		picked = lanes_pick(hits[k], picked,
			lanes_load(&scan->table[i][scan->first + (unsigned)k]));
	lanes_store(&scan->picked[i], picked);
}

/* out = wide / R mod p, where wide has twice the digits and need not have its carries taken. With
 * `scan`, a part of a look-up on the side. */
LANES_INLINE void reduce(int digits, row *out, const row *wide, const struct modulus *mod,
	const struct scan *scan)
{
	lanes sums[RSA_MB_DIGITS_MAX], k0 = lanes_load(mod->k0), zero = lanes_all(0);
	const row *n = mod->digits;
	mask hits[SCANNED];

	UNROLL
	for (int k = 0; scan && k < SCANNED; k++)
		hits[k] = lanes_equal(scan->wanted, lanes_all(scan->first + (unsigned)k));
	UNROLL
	for (int j = 0; j < digits; j++)
		sums[j] = lanes_load(&wide[j]);
	lanes m = lanes_low(zero, sums[0], k0);

#pragma GCC unroll 1
	for (int i = 0; i < digits; i++) {
		n = lanes_afresh(n);
		lanes nj = lanes_held(lanes_load(&n[1])), by = m;
		lanes lowest = lanes_low(lanes_high(sums[1], by, lanes_load(&n[0])), by, nj);

		/* The next m at once: it would hold up the next round. */
		sums[0] = lanes_held(lanes_add(lowest, carry_of_cleared(sums[0])));
		m = lanes_held(lanes_low(zero, sums[0], k0));
		UNROLL
		for (int j = 1; j < digits - 1; j++) {
			lanes sum = lanes_high(sums[j + 1], by, nj);

			nj = lanes_held(lanes_load(&n[j + 1]));
			sums[j] = lanes_low(sum, by, nj);
		}
		sums[digits - 1] = lanes_high(lanes_load(&wide[digits + i]), by, nj);
		if (scan)
			scan_row(scan, hits, i);
	}
	carry_out(digits, out, sums);
}

/* Twice what stands in column k, and the square in its middle. */
LANES_INLINE lanes column(lanes sum, const row *a, int k)
{
	lanes middle = lanes_load(&a[k / 2]), twice = lanes_add(sum, sum);

	return k % 2 ? lanes_high(twice, middle, middle) : lanes_low(twice, middle, middle);
}

/* wide = a a, carries not taken. Each product of two different digits is made once; columns in
 * registers, higher digits of a last, since those come out of its carries last. */
LANES_INLINE void square_in_registers(int digits, row *wide, const row *a)
{
	lanes sums[2 * RSA_MB_DIGITS_MAX];

	UNROLL
	for (int k = 0; k < 2 * digits; k++)
		sums[k] = lanes_all(0);
	UNROLL
	for (int j = 0; j < digits; j++) {
		lanes aj = lanes_load(&a[j]);

		UNROLL
		for (int i = 0; i < j; i++) {
			lanes ai = lanes_held(lanes_load(&a[i]));

			sums[i + j] = lanes_low(sums[i + j], ai, aj);
			sums[i + j + 1] = lanes_high(sums[i + j + 1], ai, aj);
		}
		lanes_store(&wide[j], column(sums[j], a, j));
	}
	UNROLL
	for (int k = digits; k < 2 * digits; k++)
		lanes_store(&wide[k], column(sums[k], a, k));
}

/* The same with the columns in memory, for more digits than there are registers: two digits at a
 * time, so that a column is loaded and stored once for four products. */
LANES_INLINE void square_in_memory(int digits, row *wide, const row *a)
{
	lanes zero = lanes_all(0);

	for (int k = 0; k < 2 * digits; k++)
		lanes_store(&wide[k], zero);
	for (int j = 1; j < digits; j += 2) {
		lanes low = lanes_load(&a[j]), top = j + 1 < digits ? lanes_load(&a[j + 1]) : zero;
		lanes last = zero, before = zero;

		/* Column i + j: a[i] a[j], a[i-1] a[j+1], and the high halves of the column below. */
		for (int i = 0; i < j; i++) {
			lanes ai = lanes_load(&a[i]), sum = lanes_load(&wide[i + j]);

			sum = lanes_high(lanes_low(sum, ai, low), last, low);
			sum = lanes_high(lanes_low(sum, last, top), before, top);
			lanes_store(&wide[i + j], sum);
			before = last;
			last = ai;
		}
		/* Past the diagonal of the lower digit: it meets the upper one, a[j] a[j+1]. */
		lanes sum = lanes_high(lanes_load(&wide[2 * j]), last, low);

		sum = lanes_high(lanes_low(sum, last, top), before, top);
		lanes_store(&wide[2 * j], sum);
		sum = lanes_high(lanes_load(&wide[2 * j + 1]), last, top);
		lanes_store(&wide[2 * j + 1], lanes_low(sum, low, top));
		if (j + 1 < digits)
			lanes_store(&wide[2 * j + 2],
				lanes_high(lanes_load(&wide[2 * j + 2]), low, top));
	}
	for (int k = 0; k < 2 * digits; k++)
		lanes_store(&wide[k], column(lanes_load(&wide[k]), a, k));
}

/* out = a b, with its carries taken. */
static void product(int digits, row *out, const row *a, const row *b)
{
	const lanes digit = lanes_all(LANES_DIGIT);
	lanes carry = lanes_all(0);

	for (int k = 0; k < 2 * digits; k++) {
		lanes low = carry, high = lanes_all(0);

		for (int i = MAX(0, k - digits); i <= MIN(k, digits - 1); i++) {
			lanes ai = lanes_load(&a[i]);

			if (k - i < digits)
				low = lanes_low(low, ai, lanes_load(&b[k - i]));
			if (k - i >= 1)
				high = lanes_high(high, ai, lanes_load(&b[k - i - 1]));
		}
		low = lanes_add(low, high);
		lanes_store(&out[k], lanes_and(low, digit));
		carry = lanes_carry(low);
	}
}

/* --- The three sizes --- */

struct size {
	int digits;
	void (*multiply)(row *out, const row *a, const row *b, const struct modulus *mod);
	void (*square)(row *wide, const row *a);
	void (*reduce)(row *out, const row *wide, const struct modulus *mod);
	void (*reduce_and_scan)(row *out, const row *wide, const struct modulus *mod,
		const struct scan *scan);
};

#define SIZE(n, square_how)                                                                       \
	KERNEL void multiply_##n(row *out, const row *a, const row *b, const struct modulus *mod) \
	{                                                                                         \
		multiply(n, out, a, b, mod);                                                      \
	}                                                                                         \
	KERNEL void square_##n(row *wide, const row *a)                                           \
	{                                                                                         \
		square_how(n, wide, a);                                                           \
	}                                                                                         \
	KERNEL void reduce_##n(row *out, const row *wide, const struct modulus *mod)              \
	{                                                                                         \
		reduce(n, out, wide, mod, NULL);                                                  \
	}                                                                                         \
	KERNEL void scan_##n(row *out, const row *wide, const struct modulus *mod,                \
		const struct scan *scan)                                                          \
	{                                                                                         \
		reduce(n, out, wide, mod, scan);                                                  \
	}
#define SIZE_ROW(n)                                               \
	{                                                         \
		n, multiply_##n, square_##n, reduce_##n, scan_##n \
	}

SIZE(20, square_in_registers)
SIZE(30, square_in_memory)
SIZE(40, square_in_memory)

static const struct size sizes[] = { SIZE_ROW(20), SIZE_ROW(30), SIZE_ROW(40) };

/* --- The pass --- */

struct run {
	struct rsa_mb_pass *pass;
	const struct size *size;
	struct modulus mod;
	int digits;
};

static void square(const struct run *r, row *out, const row *a)
{
	r->size->square(r->pass->wide, a);
	r->size->reduce(out, r->pass->wide, &r->mod);
}

/* Of twice the digits, below R p, into Montgomery's form. */
static void enter(const struct run *r, row *out, const row *wide)
{
	r->size->reduce(out, wide, &r->mod);
	r->size->multiply(out, r->pass->enter, out, &r->mod);
}

/* Below 2p, to below p: subtract p, and keep the difference where it did not borrow. */
static void reduce_fully(const struct run *r, row *a)
{
	const lanes digit = lanes_all(LANES_DIGIT);
	lanes borrow = lanes_all(0), less[RSA_MB_DIGITS_MAX];

	for (int j = 0; j < r->digits; j++) {
		lanes at = lanes_add(lanes_load(&a[j]), borrow);

		at = lanes_sub(at, lanes_load(&r->mod.digits[j]));
		less[j] = lanes_and(at, digit);
		borrow = lanes_borrow(at);
	}
	mask keep = lanes_negative(borrow);

	for (int j = 0; j < r->digits; j++)
		lanes_store(&a[j], lanes_pick(keep, less[j], lanes_load(&a[j])));
}

/* Out of Montgomery's form, to below p. */
static void leave(const struct run *r, row *a)
{
	row *wide = r->pass->wide;

	memcpy(wide, a, (size_t)r->digits * sizeof(row));
	memset(wide + r->digits, 0, (size_t)r->digits * sizeof(row));
	r->size->reduce(a, wide, &r->mod);
	reduce_fully(r, a);
}

static void set_entry(const struct run *r, unsigned entry, const row *a)
{
	for (int j = 0; j < r->digits; j++)
		lanes_store(&r->pass->table[j][entry], lanes_load(&a[j]));
}

/* The powers 0 to 31 of the base: even ones by squaring, odd ones by one product more. */
static void make_table(const struct run *r)
{
	struct rsa_mb_pass *pass = r->pass;
	row *power = pass->power;

	set_entry(r, 0, pass->one);
	set_entry(r, 1, pass->base);
	for (unsigned entry = 2; entry < RSA_MB_ENTRIES; entry += 2) {
		for (int j = 0; j < r->digits; j++)
			lanes_store(&power[j], lanes_load(&pass->table[j][entry / 2]));
		square(r, power, power);
		set_entry(r, entry, power);
		r->size->multiply(power, pass->base, power, &r->mod);
		set_entry(r, entry + 1, power);
	}
}

/* power = base ^ exponent. Each round squares five times, and meanwhile looks up the power that the
 * window wants. */
static void exponentiate(const struct run *r)
{
	struct rsa_mb_pass *pass = r->pass;
	struct scan scan = { .table = (const row(*)[RSA_MB_ENTRIES])pass->table,
		.picked = pass->picked };

	memcpy(pass->power, pass->one, sizeof(pass->power));
	for (unsigned at = rsa_mb_windows((unsigned)r->digits); at-- > 0;) {
		scan.wanted = lanes_of_bytes(pass->windows[at]);
		for (size_t i = 0; i < RSA_MB_WINDOW_BITS; i++) {
			scan.first = scan_from[i];
			r->size->square(pass->wide, pass->power);
			r->size->reduce_and_scan(pass->power, pass->wide, &r->mod, &scan);
		}
		r->size->multiply(pass->power, pass->picked, pass->power, &r->mod);
	}
}

/* other = a of the other prime of each job. */
static void swap(const struct run *r, row *other, const row *a)
{
	for (int j = 0; j < r->digits; j++)
		lanes_store(&other[j], lanes_swap(lanes_load(&a[j])));
}

/* base = power - other + 2p with carries taken. It is positive, for q < 2p: both have the same
 * number of bits. */
static void difference(const struct run *r)
{
	const lanes digit = lanes_all(LANES_DIGIT);
	lanes borrow = lanes_all(0);

	for (int j = 0; j < r->digits; j++) {
		lanes p = lanes_load(&r->mod.digits[j]), sum = lanes_load(&r->pass->power[j]);

		sum = lanes_add(lanes_add(sum, lanes_add(p, p)), borrow);
		sum = lanes_sub(sum, lanes_load(&r->pass->other[j]));
		lanes_store(&r->pass->base[j], lanes_and(sum, digit));
		borrow = lanes_borrow(sum);
	}
}

/* Garner, in the p lanes (RFC 8017 5.1.2): s = s2 + q ((s1 - s2) / q mod p). Then the p lanes are
 * copied over the q lanes. */
static void recombine(const struct run *r)
{
	struct rsa_mb_pass *pass = r->pass;
	const lanes digit = lanes_all(LANES_DIGIT);
	lanes carry = lanes_all(0);

	swap(r, pass->other, pass->power);
	difference(r);
	r->size->multiply(pass->base, pass->qinv, pass->base, &r->mod);
	reduce_fully(r, pass->base);
	swap(r, pass->picked, r->mod.digits);
	product(r->digits, pass->wide, pass->base, pass->picked);
	for (int k = 0; k < 2 * r->digits; k++) {
		lanes sum = lanes_add(lanes_load(&pass->wide[k]), carry);

		if (k < r->digits)
			sum = lanes_add(sum, lanes_load(&pass->other[k]));
		carry = lanes_carry(sum);
		sum = lanes_and(sum, digit);
		lanes_store(&pass->sig[k], lanes_pick(0xf0, sum, lanes_swap(sum)));
	}
}

static mask same(int digits, const row *a, const row *b)
{
	mask all = 0xff;

	for (int j = 0; j < digits; j++)
		all &= lanes_equal(lanes_load(&a[j]), lanes_load(&b[j]));
	return all;
}

/* sig ^ 65537 = block modulo both primes, from what will leave and from what came in; and p q = n,
 * without which that would prove nothing about n. */
static mask verify(const struct run *r)
{
	struct rsa_mb_pass *pass = r->pass;

	enter(r, pass->base, pass->sig);
	memcpy(pass->power, pass->base, sizeof(pass->power));
	for (int i = 0; i < 16; i++)
		square(r, pass->power, pass->power);
	r->size->multiply(pass->power, pass->base, pass->power, &r->mod);
	leave(r, pass->power);
	enter(r, pass->other, pass->block);
	leave(r, pass->other);
	swap(r, pass->picked, r->mod.digits);
	product(r->digits, pass->wide, r->mod.digits, pass->picked);
	return same(r->digits, pass->power, pass->other) & same(2 * r->digits, pass->wide, pass->n);
}

#ifdef RSA_MB_EMULATED
struct rsa_mb_fault rsa_mb_fault;

void rsa_mb_emulated(struct rsa_mb_pass *pass)
#else
void rsa_mb_ifma(struct rsa_mb_pass *pass)
#endif
{
	const struct size *size = &sizes[pass->digits / 10 - 2];
	struct run run = { .pass = pass,
		.size = size,
		.mod = { pass->prime, &pass->k0 },
		.digits = size->digits };

	memset(pass->picked, 0, sizeof(pass->picked));
	enter(&run, pass->base, pass->block);
	make_table(&run);
	exponentiate(&run);
	leave(&run, pass->power);
	recombine(&run);
	pass->good = verify(&run);
}
