/* SPDX-License-Identifier: ISC */
/*
 * CRC-64/GO-ISO: the checksum of LTX files.
 *
 * A CRC is the remainder of the message, read as a polynomial over GF(2),
 * divided by P = x^64 + x^4 + x^3 + x + 1.  Everything is reflected: bit 63
 * of a word is the coefficient of x^0, bit 0 that of x^63.
 *
 * Three ways lead to the same value.  table[0] takes one byte at a time;
 * table[i] is the effect of a byte that i more bytes follow, so sixteen
 * lookups that do not wait for each other take sixteen bytes.  Where the
 * processor multiplies polynomials, 64 bytes at a time are folded: with
 * k = x^D mod P, any 128 bits may be replaced by their product with k, D bits
 * further on, without changing the remainder.  What is left at the end, 16
 * bytes, goes through the tables.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define CAN_FOLD 1
#include <immintrin.h>
#endif

#include "be.h"
#include "crc64.h"

#define POLY UINT64_C(0xd800000000000000)	/* P without x^64 */
#define X_0 (UINT64_C(1) << 63)
#define X_1 (UINT64_C(1) << 62)
#define X_8 (UINT64_C(1) << 55)
#define STEP 16				/* bytes per round of lookups */

/* Filled once, constant from then on. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t table[STEP][256];

/* v * x mod P */
static uint64_t
times_x(uint64_t v)
{
	return v & 1 ? v >> 1 ^ POLY : v >> 1;
}

/* a * b mod P */
static uint64_t
multiply(uint64_t a, uint64_t b)
{
	uint64_t product = 0;

	for (; a != 0; a <<= 1) {
		if (a & X_0)
			product ^= b;
		b = times_x(b);
	}
	return product;
}

/* base^n mod P */
static uint64_t
power(uint64_t base, uint64_t n)
{
	uint64_t v = X_0;

	for (; n != 0; n >>= 1) {
		if (n & 1)
			v = multiply(v, base);
		base = multiply(base, base);
	}
	return v;
}

static uint64_t
le64(const uint8_t *p)
{
	return (uint64_t)le32(p + 4) << 32 | le32(p);
}

#define LOOK(word, byte, i) table[i][(word) >> (byte) * 8 & 0xff]

static uint64_t
look_up(uint64_t crc, const uint8_t *p, size_t n)
{
	uint64_t a, b;

	for (; n >= STEP; p += STEP, n -= STEP) {
		a = crc ^ le64(p);
		b = le64(p + 8);
		crc = LOOK(a, 0, 15) ^ LOOK(a, 1, 14) ^ LOOK(a, 2, 13) ^
		    LOOK(a, 3, 12) ^ LOOK(a, 4, 11) ^ LOOK(a, 5, 10) ^
		    LOOK(a, 6, 9) ^ LOOK(a, 7, 8) ^ LOOK(b, 0, 7) ^
		    LOOK(b, 1, 6) ^ LOOK(b, 2, 5) ^ LOOK(b, 3, 4) ^
		    LOOK(b, 4, 3) ^ LOOK(b, 5, 2) ^ LOOK(b, 6, 1) ^
		    LOOK(b, 7, 0);
	}
	for (; n > 0; p++, n--)
		crc = table[0][(crc ^ *p) & 0xff] ^ crc >> 8;
	return crc;
}

#ifdef CAN_FOLD
#define FOLD_BYTES 64
#define FOLD_MIN 128			/* below, tables are as fast */

static bool folds;
/* To go D bits further: for the earlier half of 128 bits and for the later.
 * One less in the exponent, as a product of reflected words is x too high. */
static uint64_t by_512[2], by_128[2];

static void
prepare_fold(void)
{
	by_512[0] = power(X_1, 512 + 64 - 1);
	by_512[1] = power(X_1, 512 - 1);
	by_128[0] = power(X_1, 128 + 64 - 1);
	by_128[1] = power(X_1, 128 - 1);
	folds = __builtin_cpu_supports("pclmul");
}

static __m128i
load(const void *p)
{
	return _mm_loadu_si128(p);
}

__attribute__((target("pclmul")))
static inline __m128i
move(__m128i x, __m128i k, __m128i to)
{
	return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x00),
	    _mm_clmulepi64_si128(x, k, 0x11)), to);
}

/* n is a multiple of FOLD_BYTES, not 0. */
__attribute__((target("pclmul")))
static uint64_t
fold(uint64_t crc, const uint8_t *p, size_t n)
{
	__m128i a, b, c, d, k = load(by_512);
	uint8_t rest[STEP];

	a = _mm_xor_si128(load(p), _mm_cvtsi64_si128((long long)crc));
	b = load(p + 16);
	c = load(p + 32);
	d = load(p + 48);
	for (p += FOLD_BYTES, n -= FOLD_BYTES; n > 0;
	    p += FOLD_BYTES, n -= FOLD_BYTES) {
		a = move(a, k, load(p));
		b = move(b, k, load(p + 16));
		c = move(c, k, load(p + 32));
		d = move(d, k, load(p + 48));
	}
	k = load(by_128);
	a = move(move(move(a, k, b), k, c), k, d);
	_mm_storeu_si128((void *)rest, a);
	return look_up(0, rest, sizeof(rest));
}
#endif

static void
prepare(void)
{
	uint64_t v;
	int i, j;

	for (i = 0; i < 256; i++) {
		v = (uint64_t)i;
		for (j = 0; j < 8; j++)
			v = times_x(v);
		table[0][i] = v;
	}
	for (j = 1; j < STEP; j++)
		for (i = 0; i < 256; i++) {
			v = table[j - 1][i];
			table[j][i] = table[0][v & 0xff] ^ v >> 8;
		}
#ifdef CAN_FOLD
	prepare_fold();
#endif
}

uint64_t
crc64(uint64_t crc, const void *p, size_t n)
{
	const uint8_t *s = p;

	(void)pthread_once(&once, prepare);
	crc = ~crc;
#ifdef CAN_FOLD
	if (folds && n >= FOLD_MIN) {
		size_t whole = n - n % FOLD_BYTES;

		crc = fold(crc, s, whole);
		s += whole;
		n -= whole;
	}
#endif
	return ~look_up(crc, s, n);
}

uint64_t
crc64_combine(uint64_t a, uint64_t b, uint64_t len_b)
{
	return multiply(a, power(X_8, len_b)) ^ b;
}
