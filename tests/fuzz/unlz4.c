/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as a file that is one LZ4 frame, with the checksum of the frame's
 * header put right, but for inputs of odd length.
 */
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "../../unlz4.h"
#include "fuzz.h"

#define PATH "/r/0.snapshot.lz4"
#define INPUT_MAX 65536
#define OUT_MAX (INPUT_MAX * 256)

/* By one call of the library, if there is room; -1 if it is not one frame. */
static ssize_t
decode(const uint8_t *p, size_t n, uint8_t *out)
{
	static LZ4F_dctx *lz4;
	size_t k, in = 0, got = 0, m, left;

	if (lz4 == NULL)
		MUST(!LZ4F_isError(LZ4F_createDecompressionContext(&lz4,
		    LZ4F_VERSION)));
	do {
		k = n - in;
		m = OUT_MAX - got;
		left = LZ4F_decompress(lz4, out + got, &m, p + in, &k, NULL);
		in += k;
		got += m;
	} while (!LZ4F_isError(left) && left > 0 && (k > 0 || m > 0));
	if (left != 0) {	/* not fit for another frame (1.9.4) */
		LZ4F_freeDecompressionContext(lz4);
		lz4 = NULL;
	}
	return left == 0 && in == n ? (ssize_t)got : -1;
}

static size_t
header_size(const uint8_t *p)
{
	return 7 + (p[4] & 8 ? 8u : 0) + (p[4] & 1 ? 4u : 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static uint8_t file[INPUT_MAX], out[OUT_MAX];
	const uint8_t *piece;
	struct unlz4 *u;
	struct err e;
	size_t k, got = 0, size;
	ssize_t want;
	int fd, rc;

	if (n > INPUT_MAX)
		return 0;
	memcpy(file, p, n);
	if (n >= 7 && n % 2 == 0 && (size = header_size(p)) <= n)
		file[size - 1] = (uint8_t)(XXH32(file + 4, size - 5, 0) >> 8);
	mem_limit(1 << 18);
	mem_reset();
	mem_put(PATH, file, n);
	want = decode(file, n, out);
	fd = mem_open(PATH, O_RDONLY);
	fuzz_clear(&e);
	MUST(unlz4_open(&u, fd, PATH, &e) == 0);
	while ((rc = unlz4_next(u, &piece, &k, &e)) == 1) {
		MUST(k > 0 && k <= UNLZ4_CHUNK && k <= OUT_MAX - got);
		MUST(memcmp(out + got, piece, k) == 0 || want < 0);
		got += k;
	}
	if (rc < 0)
		fuzz_error(&e, ERR_DAMAGED, PATH);
	else
		MUST((ssize_t)got == want);
	unlz4_close(u);
	MUST(mem_close(fd) == 0);
	return 0;
}
