/* SPDX-License-Identifier: ISC */
/*
 * LTX files read a second way, from their definition in ltx.c, for comparison:
 * every frame by itself, the index as what it says.
 */
#include <lz4.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

#include "../../be.h"
#include "../../crc64.h"
#include "../../ltx_format.h"
#include "fuzz.h"

#define PATH "/r/a.ltx"
#define COPY "/r/b.ltx"
#define PAGE_MAX 65536
#define HEADER_FLAGS 4
#define HEADER_PAGE_SIZE 8
#define HEADER_COMMIT 12
#define HEADER_MIN 16

static uint8_t pages[FORM_PAGES][PAGE_MAX];

/* The length of the frame at p, its page in out; 0 if it is none. */
static size_t
decode(const uint8_t *p, size_t n, uint8_t *out, size_t page_size)
{
	static LZ4F_dctx *lz4;
	size_t in = n - LTX_PAGE_HEADER_SIZE, got = page_size, left;
	uint32_t size;

	if (be16(p + 4) == LTX_PAGE_IS_BLOCK) {
		if (n < LTX_BLOCK_HEADER_SIZE)
			return 0;
		size = be32(p + LTX_PAGE_HEADER_SIZE);
		if (size > n - LTX_BLOCK_HEADER_SIZE || LZ4_decompress_safe(
		    (const char *)p + LTX_BLOCK_HEADER_SIZE, (char *)out,
		    (int)size, (int)page_size) != (int)page_size)
			return 0;
		return LTX_BLOCK_HEADER_SIZE + size;
	}
	if (be16(p + 4) != 0)
		return 0;
	if (lz4 == NULL)
		MUST(!LZ4F_isError(LZ4F_createDecompressionContext(&lz4,
		    LZ4F_VERSION)));
	left = LZ4F_decompress(lz4, out, &got, p + LTX_PAGE_HEADER_SIZE, &in,
	    NULL);
	if (left != 0) {	/* not fit for another frame (1.9.4) */
		LZ4F_freeDecompressionContext(lz4);
		lz4 = NULL;
	}
	return left == 0 && got == page_size ? LTX_PAGE_HEADER_SIZE + in : 0;
}

bool
form_read(struct form *f, const uint8_t *p, size_t n)
{
	size_t size;

	f->page_size = be32(p + HEADER_PAGE_SIZE);
	f->n = 0;
	f->end = LTX_HEADER_SIZE;
	f->whole = false;
	if (!ltx_page_size_ok(f->page_size))
		return false;
	while (f->n < FORM_PAGES && n - f->end >= LTX_PAGE_HEADER_SIZE) {
		f->page[f->n].pgno = be32(p + f->end);
		if (f->page[f->n].pgno == 0) {
			f->whole = be16(p + f->end + 4) == 0;
			break;
		}
		size = decode(p + f->end, n - f->end, pages[f->n],
		    f->page_size);
		if (size == 0)
			break;
		f->page[f->n].off = f->end;
		f->page[f->n].size = size;
		f->page[f->n].data = pages[f->n];
		f->n++;
		f->end += size;
	}
	return true;
}

static uint64_t
database_sum(const struct form *f)
{
	uint64_t sum = 0;
	uint8_t b[4];
	size_t i;

	for (i = 0; i < f->n; i++) {
		put_be32(b, f->page[i].pgno);
		sum ^= crc64(crc64(0, b, sizeof b), f->page[i].data,
		    f->page_size);
	}
	return sum | LTX_SUM_FLAG;
}

/* Of everything but the last 8 bytes of the n at p. */
static uint64_t
file_sum(const struct form *f, const uint8_t *p, size_t n)
{
	uint64_t crc = crc64(0, p, LTX_HEADER_SIZE);
	size_t i;

	for (i = 0; i < f->n; i++) {
		crc = crc64(crc, p + f->page[i].off,
		    be16(p + f->page[i].off + 4) == LTX_PAGE_IS_BLOCK ?
		    LTX_BLOCK_HEADER_SIZE : LTX_PAGE_HEADER_SIZE);
		crc = crc64(crc, f->page[i].data, f->page_size);
	}
	return crc64(crc, p + f->end, n - f->end - LTX_SUM_SIZE) |
	    LTX_SUM_FLAG;
}

size_t
form_fix(const uint8_t *p, size_t n, uint8_t *out)
{
	struct form f;
	size_t at, i, left;
	bool sums;

	memcpy(out, p, n);
	if (n < LTX_HEADER_SIZE)
		return n;
	memcpy(out, LTX_MAGIC, LTX_MAGIC_SIZE);
	if (!form_read(&f, out, n) || !f.whole)
		return n;
	at = f.end + LTX_PAGE_HEADER_SIZE;
	for (i = 0; i < f.n; i++)
		at += ltx_put_index_entry(out + at, f.page[i].pgno,
		    f.page[i].off, f.page[i].size);
	out[at++] = 0;
	put_be64(out + at, at - f.end - LTX_PAGE_HEADER_SIZE);
	at += LTX_SUM_SIZE;
	sums = (be32(out + HEADER_FLAGS) & LTX_NO_CHECKSUM) == 0;
	put_be64(out + at, sums ? database_sum(&f) : 0);
	at += LTX_SUM_SIZE;
	left = n > at + LTX_SUM_SIZE ? n - at - LTX_SUM_SIZE : 0;
	for (i = f.end + LTX_PAGE_HEADER_SIZE; left > 0 && i < at; i++)
		out[i] ^= p[n - left--];
	put_be64(out + at, file_sum(&f, out, at + LTX_SUM_SIZE));
	return at + LTX_SUM_SIZE;
}

/* The number at *at, below end; *at moves on. */
static uint64_t
uvarint(const uint8_t *p, size_t *at, size_t end)
{
	uint64_t v = 0;
	int shift;

	for (shift = 0; shift < 64; shift += 7) {
		MUST(*at < end);
		v |= (uint64_t)(p[*at] & 0x7f) << shift;
		if (p[(*at)++] < 0x80)
			return v;
	}
	MUST(!"a number of 64 bits");
	return 0;
}

/* What was read to its proven end: all of it follows from what was read. */
static void
compare(const uint8_t *p, size_t n, const struct ltx_header *h,
    const struct form *f)
{
	size_t tail = n - LTX_TRAILER_SIZE - LTX_SUM_SIZE;
	size_t at = f->end + LTX_PAGE_HEADER_SIZE, i;
	uint32_t last = 0;

	MUST(f->whole && f->page_size == h->page_size);
	MUST(be64(p + tail) == tail - at);
	for (i = 0; i < f->n; i++) {
		MUST(f->page[i].pgno > last && f->page[i].pgno <= h->commit);
		MUST(f->page[i].pgno != ltx_lock_page(h->page_size));
		last = f->page[i].pgno;
		MUST(uvarint(p, &at, tail) == last);
		MUST(uvarint(p, &at, tail) == f->page[i].off);
		MUST(uvarint(p, &at, tail) == f->page[i].size);
	}
	MUST(p[at] == 0 && at + 1 == tail);
	MUST(be64(p + n - LTX_SUM_SIZE) == file_sum(f, p, n));
	if (h->min_txid == 1)
		MUST(f->n == h->commit -
		    (h->commit >= ltx_lock_page(h->page_size)));
	if (h->min_txid == 1 && h->flags == 0)
		MUST(ltx_page_size_ok(h->page_size) &&
		    be64(p + tail + LTX_SUM_SIZE) == database_sum(f));
}

/* Written again: the same bytes, if the writer writes such files. */
static void
write_again(int fd, const uint8_t *p, size_t n, const struct form *f,
    const struct ltx_header *h)
{
	struct ltx_page page;
	struct ltx_writer *w;
	struct ltx_reader *r;
	uint64_t sum, size;
	struct err e;
	const uint8_t *q;
	size_t i, m;
	int out;

	out = mem_open(COPY, O_CREAT | O_EXCL | O_RDWR);
	MUST(ltx_open(&r, fd, PATH, &e) == 0 && out >= 0);
	MUST(ltx_create(&w, out, COPY, h->page_size, &e) == 0);
	for (i = 0; ltx_next(r, &page, &e) == 1; i++) {
		MUST(page.pgno == f->page[i].pgno);
		MUST(ltx_write_block(w, &page, &e) == 0);
	}
	MUST(i == f->n && ltx_finish(w, h, &sum, &size, &e) == 0);
	ltx_free(w);
	ltx_close(r);
	q = mem_get(COPY, &m);
	MUST(m == size && be64(q + m - LTX_SUM_SIZE) == sum);
	for (i = 0; i < f->n && be16(p + f->page[i].off + 4) != 0; i++)
		;
	if (i == f->n && h->flags == LTX_NO_CHECKSUM && (h->salt != 0 ||
	    (be64(p + 84) == 0 && be64(p + 92) == 0)))
		MUST(m == n && memcmp(p, q, n) == 0);
	MUST(ltx_open(&r, out, COPY, &e) == 0);
	for (i = 0; ltx_next(r, &page, &e) == 1; i++)
		MUST(page.pgno == f->page[i].pgno && memcmp(page.data,
		    f->page[i].data, f->page_size) == 0);
	MUST(i == f->n && ltx_next(r, &page, &e) == 0);
	ltx_close(r);
	MUST(mem_close(out) == 0);
}

/* Reads to the end; how many pages, -1 if it fails. */
static int
read_all(int fd, const uint8_t *p, size_t n, struct form *f,
    struct ltx_header *h)
{
	struct ltx_reader *r;
	struct ltx_page page;
	struct err e;
	size_t i = 0;
	int rc;

	fuzz_clear(&e);
	if (ltx_open(&r, fd, PATH, &e) != 0) {
		fuzz_error(&e, ERR_DAMAGED, PATH);
		return -1;
	}
	*h = *ltx_header(r);
	MUST(h->commit > 0 && h->min_txid > 0 && h->min_txid <= h->max_txid);
	MUST(form_read(f, p, n));
	for (; (rc = ltx_next(r, &page, &e)) == 1; i++) {
		if (i < f->n)
			MUST(page.pgno == f->page[i].pgno && memcmp(page.data,
			    f->page[i].data, f->page_size) == 0);
		else
			MUST(f->n == FORM_PAGES);
		MUST(page.block == NULL || page.block_size <= n);
		MUST(ltx_bytes_read(r) <= n);
	}
	if (rc == 0) {
		MUST(ltx_next(r, &page, &e) == 0 && ltx_bytes_read(r) == n);
		MUST(ltx_file_checksum(r) == be64(p + n - LTX_SUM_SIZE));
	} else
		fuzz_error(&e, ERR_DAMAGED, PATH);
	ltx_close(r);
	return rc == 0 ? (int)i : -1;
}

void
form_check(const uint8_t *p, size_t n)
{
	struct form f;
	struct ltx_header h;
	uint64_t sum;
	struct err e;
	int fd, k;

	mem_reset();
	mem_put(PATH, p, n);
	fd = mem_open(PATH, O_RDONLY);
	k = read_all(fd, p, n, &f, &h);
	if (k >= 0 && f.whole) {
		compare(p, n, &h, &f);
		write_again(fd, p, n, &f, &h);
	}
	fuzz_clear(&e);
	if (ltx_read_file_checksum(fd, PATH, &sum, &e) == 0)
		MUST(sum == be64(p + n - LTX_SUM_SIZE));
	else
		fuzz_error(&e, ERR_DAMAGED, PATH);
	MUST(mem_close(fd) == 0);
}
