/* SPDX-License-Identifier: ISC */
/*
 * CRC-64/GO-ISO: polynomial 0x1B, reflected, all ones in and out, as Go's
 * hash/crc64 ISO table (FORMAT 7.5).  crc64(0, "123456789", 9) is
 * b90956c775a41001; the empty string gives 0.
 */
#ifndef CRC64_H
#define CRC64_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of what crc covers followed by n bytes at p; start with crc 0. */
uint64_t crc64(uint64_t crc, const void *p, size_t n);

/* The CRC of A followed by B, from the CRC of each and the length of B
 * (the algebra of zlib's crc32_combine). */
uint64_t crc64_combine(uint64_t a, uint64_t b, uint64_t len_b);

#endif
