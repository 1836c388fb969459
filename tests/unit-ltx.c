/* SPDX-License-Identifier: ISC */
/*
 * crc64.c and ltx.c against the published vectors, against a CRC taken one
 * bit at a time, and against files composed here byte by byte.
 */
#include <sys/stat.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "../be.h"
#include "../crc64.h"
#include "../ltx.h"
#include "tap.h"

#define SUM_FLAG (UINT64_C(1) << 63)
#define SEED UINT64_C(0x5eed000000000001)
#define FILE_MAX (1024 * 1024)
#define PAGES_MAX 8

static void
fill_random(uint8_t *p, size_t n, uint64_t *s)
{
	while (n-- > 0)
		*p++ = (uint8_t)(next_random(s) >> 32);
}

/* The definition, one bit at a time. */
static uint64_t
slow_crc(uint64_t crc, const uint8_t *p, size_t n)
{
	int i;

	for (crc = ~crc; n > 0; p++, n--)
		for (crc ^= *p, i = 0; i < 8; i++)
			crc = crc & 1 ? crc >> 1 ^ UINT64_C(0xd8) << 56 :
			    crc >> 1;
	return ~crc;
}

static void
test_crc(void)
{
	static uint8_t p[70000];
	uint64_t s = SEED, want;
	size_t i, off, n, cut;
	bool same = true, parts = true, combined = true;

	ok(crc64(0, "123456789", 9) == UINT64_C(0xb90956c775a41001),
	    "crc64 of 123456789");
	ok(crc64(0, "", 0) == 0, "crc64 of nothing");
	ok(crc64(0, "a", 1) == UINT64_C(0x3420000000000000), "crc64 of a");
	printf("# seed %llx\n", (unsigned long long)s);
	fill_random(p, sizeof(p), &s);
	for (i = 0; i < 1500; i++) {
		off = next_random(&s) % 64;
		n = i < 700 ? i : next_random(&s) % 5000;
		cut = n != 0 ? next_random(&s) % n : 0;
		want = slow_crc(0, p + off, n);
		same = same && crc64(0, p + off, n) == want;
		parts = parts && crc64(crc64(0, p + off, cut), p + off + cut,
		    n - cut) == want;
		combined = combined && crc64_combine(crc64(0, p + off, cut),
		    crc64(0, p + off + cut, n - cut), n - cut) == want;
	}
	ok(same, "crc64 is that taken bit by bit");
	ok(parts, "crc64 in two parts");
	ok(combined, "crc64_combine of two parts");
	ok(crc64(0, p, sizeof(p)) == slow_crc(0, p, sizeof(p)),
	    "crc64 of a long buffer");
	ok(crc64_combine(crc64(0, "abc", 3), 0, 0) == crc64(0, "abc", 3),
	    "crc64_combine with nothing");
}

/* A file composed by hand: bytes, and the CRC as it must be. */
struct image {
	uint8_t b[FILE_MAX], index[4096];
	size_t n, index_size;
	uint64_t crc;
};

static struct image image, good;

static void
raw(const void *p, size_t n)
{
	memcpy(image.b + image.n, p, n);
	image.n += n;
}

static void
hashed(const void *p, size_t n)
{
	image.crc = slow_crc(image.crc, p, n);
	raw(p, n);
}

static void
hashed64(uint64_t v)
{
	uint8_t b[8];

	put_be64(b, v);
	hashed(b, sizeof(b));
}

static void
start(const struct ltx_header *h)
{
	uint8_t b[LTX_HEADER_SIZE] = "LTX1";

	memset(&image, 0, sizeof(image));
	put_be32(b + 4, h->flags);
	put_be32(b + 8, h->page_size);
	put_be32(b + 12, h->commit);
	put_be64(b + 16, h->min_txid);
	put_be64(b + 24, h->max_txid);
	put_be64(b + 32, (uint64_t)h->timestamp_ms);
	put_be64(b + 40, h->pre_checksum);
	put_be64(b + 48, (uint64_t)h->wal_offset);
	put_be64(b + 56, (uint64_t)h->wal_size);
	put_be32(b + 64, h->wal_salt1);
	put_be32(b + 68, h->wal_salt2);
	put_be64(b + 72, h->node_id);
	put_be32(b + 80, h->salt);
	put_be64(b + 84, h->pre_fingerprint);
	put_be64(b + 92, h->post_fingerprint);
	hashed(b, sizeof(b));
}

static void
index_number(uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		image.index[image.index_size++] = (uint8_t)(v & 0x7f) | 0x80;
	image.index[image.index_size++] = (uint8_t)v;
}

static void
index_page(uint32_t pgno, size_t off)
{
	index_number(pgno);
	index_number(off);
	index_number(image.n - off);
}

static void
page_header(uint32_t pgno, unsigned flags)
{
	uint8_t b[6];

	put_be32(b, pgno);
	put_be16(b + 4, (uint16_t)flags);
	hashed(b, sizeof(b));
}

/* A block that holds literals only. */
static size_t
literal_block(uint8_t *b, const uint8_t *page, size_t n)
{
	size_t left, k = 0;

	b[k++] = 0xf0;
	for (left = n - 15; left >= 255; left -= 255)
		b[k++] = 255;
	b[k++] = (uint8_t)left;
	memcpy(b + k, page, n);
	return k + n;
}

static void
block_page(uint32_t pgno, const uint8_t *page, size_t page_size)
{
	static uint8_t b[70000];
	size_t n = literal_block(b, page, page_size), off = image.n;
	uint8_t size[4];

	page_header(pgno, 1);
	put_be32(size, (uint32_t)n);
	hashed(size, sizeof(size));
	raw(b, n);
	image.crc = slow_crc(image.crc, page, page_size);
	index_page(pgno, off);
}

static void
put_le32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

/* As releases up to v0.5.15 write it, the one block raw or compressed. */
static void
frame_page(uint32_t pgno, const uint8_t *page, size_t page_size, bool raw_block,
    uint32_t damage)
{
	static const uint8_t magic[] = { 4, 0x22, 0x4d, 0x18, 0x64, 0x40,
	    0xa7 };
	static uint8_t b[70000];
	uint8_t word[4], tail[8] = {0};
	size_t off = image.n, n;

	page_header(pgno, 0);
	raw(magic, sizeof(magic));
	if (raw_block)
		memcpy(b, page, n = page_size);
	else
		n = (size_t)LZ4_compress_default((const char *)page,
		    (char *)b, (int)page_size, (int)sizeof(b));
	put_le32(word, (uint32_t)n | (raw_block ? 0x80000000u : 0));
	raw(word, sizeof(word));
	raw(b, n);
	put_le32(tail + 4, XXH32(page, page_size, 0) ^ damage);
	raw(tail, sizeof(tail));
	image.crc = slow_crc(image.crc, page, page_size);
	index_page(pgno, off);
}

static void
finish(uint64_t post)
{
	uint8_t b[8], end[6] = {0};

	hashed(end, sizeof(end));
	hashed(image.index, image.index_size);
	hashed("", 1);
	hashed64(image.index_size + 1);
	hashed64(post);
	put_be64(b, image.crc | SUM_FLAG);
	raw(b, sizeof(b));
}

static int
temp_file(const void *p, size_t n)
{
	FILE *f = tmpfile();
	int fd;

	if (f == NULL || (fd = dup(fileno(f))) == -1)
		die("no temporary file");
	(void)fclose(f);
	if (n > 0 && pwrite(fd, p, n, 0) != (ssize_t)n)
		die("cannot write");
	return fd;
}

static struct err err;

/* Reads the file, each page to where its number puts it; the last page
 * number, or -1. */
static int
read_pages(int fd, uint8_t *pages, struct ltx_header *h)
{
	struct ltx_reader *r;
	struct ltx_page p;
	int rc, last = 0;
	uint64_t sum;

	memset(&err, 0, sizeof(err));
	if (ltx_open(&r, fd, "x.ltx", &err) != 0)
		return -1;
	while ((rc = ltx_next(r, &p, &err)) == 1) {
		last = (int)p.pgno;
		if (pages != NULL && p.pgno <= PAGES_MAX)
			memcpy(pages + (p.pgno - 1) * ltx_header(r)->page_size,
			    p.data, ltx_header(r)->page_size);
	}
	if (h != NULL)
		*h = *ltx_header(r);
	if (rc == 0 && (ltx_next(r, &p, &err) != 0 ||
	    ltx_read_file_checksum(fd, "x.ltx", &sum, &err) != 0 ||
	    sum != ltx_file_checksum(r)))
		rc = -1;
	ltx_close(r);
	return rc == 0 ? last : -1;
}

static int
read_image(const uint8_t *b, size_t n)
{
	int fd = temp_file(b, n), rc;

	rc = read_pages(fd, NULL, NULL);
	(void)close(fd);
	return rc;
}

/* The composed file is refused as damaged, with this in the message. */
static void
refused(const char *text, const char *title)
{
	int rc = read_image(image.b, image.n);

	ok(rc == -1 && err.kind == ERR_DAMAGED &&
	    strstr(err.text, text) != NULL && strstr(err.text, "x.ltx") != NULL,
	    "refused: %s", title);
	if (rc != -1 || strstr(err.text, text) == NULL)
		printf("# %d: %s\n", rc, err.text);
}

static const struct ltx_header plain = {
	.flags = LTX_NO_CHECKSUM, .page_size = 512, .commit = 1,
	.min_txid = 1, .max_txid = 1, .timestamp_ms = 1000
};
static const uint8_t zeros[65536];

static void
test_vectors(void)
{
	static const uint8_t no_1[] = { 0, 0, 0, 1 }, no_2[] = { 0, 0, 0, 2 };
	uint64_t a, b;

	a = crc64(crc64(0, no_1, 4), zeros, 512) | SUM_FLAG;
	b = crc64(crc64(0, no_2, 4), zeros, 512) | SUM_FLAG;
	ok(a == UINT64_C(0xefb1f44fecd99000), "checksum of page 1, zeros");
	ok(b == UINT64_C(0xef63e89fecd99000), "checksum of page 2, zeros");
	ok(((a ^ b) | SUM_FLAG) == UINT64_C(0x80d21cd000000000),
	    "database checksum of both");
	ok(ltx_lock_page(4096) == 262145 && ltx_lock_page(512) == 2097153 &&
	    ltx_lock_page(65536) == 16385, "lock pages");
	ok(ltx_page_size_ok(512) && ltx_page_size_ok(65536) &&
	    !ltx_page_size_ok(256) && !ltx_page_size_ok(131072) &&
	    !ltx_page_size_ok(1000) && !ltx_page_size_ok(0), "page sizes");
	ok(ltx_page_hash(7, 3, zeros, 512) == XXH3_64bits_withSeed(zeros, 512,
	    UINT64_C(0x700000003)), "page hash");
	start(&plain);
	block_page(1, zeros, 512);
	finish(0);
	ok(image.n == 660 && be64(image.b + 652) ==
	    UINT64_C(0xc3c28bb7eab055d0), "the 660-byte file");
	ok(read_image(image.b, image.n) == 1, "the 660-byte file is good");
}

static void
test_encodings(void)
{
	static uint8_t pages[4 * 65536], back[4 * 65536];
	struct ltx_header h = plain, got;
	uint64_t s = SEED;
	uint32_t size;
	int fd, rc;

	fill_random(pages, sizeof(pages), &s);
	memset(pages, 'x', 100);
	for (size = 512; size <= 65536; size *= 2) {
		h.page_size = size;
		h.commit = 4;
		memset(pages + 2 * size, 'z', size / 2);
		start(&h);
		frame_page(1, pages, size, true, 0);
		block_page(2, pages + size, size);
		frame_page(3, pages + 2 * size, size, false, 0);
		frame_page(4, pages + 3 * size, size, true, 0);
		finish(0);
		fd = temp_file(image.b, image.n);
		rc = read_pages(fd, back, &got);
		ok(rc == 4 && memcmp(pages, back, 4 * size) == 0 &&
		    got.page_size == size,
		    "LZ4 frames and blocks in one file, page size %u", size);
		if (rc != 4)
			printf("# %s\n", err.text);
		(void)close(fd);
	}
	h = plain;
	start(&h);
	frame_page(1, zeros, 512, true, 1);
	finish(0);
	refused("LZ4", "LZ4 frame with a wrong content checksum");
	start(&h);
	frame_page(1, zeros, 1024, true, 0);
	finish(0);
	refused("LZ4", "LZ4 frame longer than the page");
	start(&h);
	frame_page(1, zeros, 256, true, 0);
	finish(0);
	refused("LZ4", "LZ4 frame shorter than the page");
	start(&h);
	block_page(1, zeros, 511);
	finish(0);
	refused("LZ4", "LZ4 block shorter than the page");
	start(&h);
	block_page(1, zeros, 513);
	finish(0);
	refused("LZ4", "LZ4 block longer than the page");
	start(&h);
	block_page(1, zeros, 600);
	finish(0);
	refused("too large", "LZ4 block above the worst case");
}

/* One header field changed, the checksum right. */
static void
bad_header(struct ltx_header h, const char *text)
{
	start(&h);
	block_page(1, zeros, 512);
	finish(0);
	refused(text, text);
}

static void
test_headers(void)
{
	struct ltx_header h = plain;

	bad_header((h = plain, h.flags = 3, h), "invalid flags: 0x00000003");
	bad_header((h = plain, h.page_size = 0, h), "invalid page size: 0");
	bad_header((h = plain, h.page_size = 768, h), "invalid page size");
	bad_header((h = plain, h.page_size = 131072, h), "invalid page size");
	bad_header((h = plain, h.commit = 0, h), "commit size required");
	bad_header((h = plain, h.min_txid = 0, h),
	    "minimum transaction id required");
	bad_header((h = plain, h.max_txid = 0, h),
	    "maximum transaction id required");
	bad_header((h = plain, h.min_txid = 3, h.max_txid = 2, h),
	    "transaction ids out of order: (3,2)");
	bad_header((h = plain, h.wal_offset = -1, h),
	    "wal offset cannot be negative");
	bad_header((h = plain, h.wal_size = -1, h),
	    "wal size cannot be negative");
	bad_header((h = plain, h.wal_salt1 = 1, h),
	    "wal offset required if salt exists");
	bad_header((h = plain, h.wal_salt2 = 1, h),
	    "wal offset required if salt exists");
	bad_header((h = plain, h.wal_size = 1, h),
	    "wal offset required if wal size exists");
	bad_header((h = plain, h.pre_checksum = SUM_FLAG, h),
	    "pre-apply checksum must be zero on snapshots");
	h = plain;
	h.min_txid = h.max_txid = 2;
	h.pre_checksum = SUM_FLAG;
	bad_header(h, "pre-apply checksum not allowed");
	h.flags = 0;
	h.pre_checksum = 1;
	bad_header(h, "invalid pre-apply checksum format");
	h.pre_checksum = 0;
	bad_header(h, "pre-apply checksum required on non-snapshot files");
	start(&plain);
	image.b[3] = '2';
	refused("invalid LTX file", "another magic");
	memset(image.b, 0, image.n);
	refused("invalid LTX file", "zeros");
	image.n = 99;
	refused("has size 99 bytes (minimum 100)", "99 bytes");
	image.n = 0;
	refused("has size 0 bytes (minimum 100)", "an empty file");
}

static void
test_files(void)
{
	struct ltx_reader *r;
	uint64_t sum;
	int fd[2];

	if (pipe(fd) != 0)
		die("no pipe");
	memset(&err, 0, sizeof(err));
	ok(ltx_open(&r, fd[0], "x.ltx", &err) == -1 &&
	    err.kind == ERR_DAMAGED &&
	    strstr(err.text, "x.ltx is not a regular file") != NULL,
	    "refused: a pipe");
	memset(&err, 0, sizeof(err));
	ok(ltx_read_file_checksum(fd[0], "x.ltx", &sum, &err) == -1 &&
	    err.kind == ERR_DAMAGED, "no file checksum of a pipe");
	(void)close(fd[0]);
	(void)close(fd[1]);
	memset(&err, 0, sizeof(err));
	ok(ltx_open(&r, fd[0], "x.ltx", &err) == -1 && err.kind == ERR_SYSTEM,
	    "a read error is not damage");
}

/* Two pages of 512 bytes in order a, b under this header. */
static void
two_pages(struct ltx_header h, uint32_t a, uint32_t b)
{
	start(&h);
	block_page(a, zeros, h.page_size);
	block_page(b, zeros, h.page_size);
	finish(0);
}

static void
test_pages(void)
{
	struct ltx_header h = plain;

	h.commit = 3;
	two_pages(h, 1, 3);
	refused("page 2 is missing", "a hole where min TXID is 1");
	two_pages(h, 1, 2);
	refused("page 3 is missing", "the last page missing");
	two_pages(h, 2, 3);
	refused("page 1 is missing", "the first page missing");
	h.min_txid = h.max_txid = 2;
	two_pages(h, 1, 3);
	ok(read_image(image.b, image.n) == 3, "an increment may have holes");
	two_pages(h, 2, 2);
	refused("out-of-order page numbers: 2,2", "a page twice");
	two_pages(h, 3, 2);
	refused("out-of-order page numbers: 3,2", "descending pages");
	two_pages(h, 3, 4);
	refused("page number 4 out-of-bounds for commit size 3",
	    "a page past commit");
	start(&h);
	finish(0);
	ok(read_image(image.b, image.n) == 0, "an increment without pages");
	start(&h);
	page_header(0, 1);
	finish(0);
	refused("page number required", "page 0 with flags");
	start(&h);
	page_header(1, 2);
	finish(0);
	refused("invalid page header flags: 0x0002", "unknown page flags");
	h.page_size = 65536;
	h.commit = 20000;
	two_pages(h, 16384, 16385);
	refused("lock page", "the lock page");
	two_pages(h, 16384, 16386);
	ok(read_image(image.b, image.n) == 16386, "pages around it");
}

/* The file checksum of a one-page file that was changed behind its page. */
static void
sum_again(void)
{
	size_t off = LTX_HEADER_SIZE + 10, end = off + be32(image.b + off - 4);
	uint64_t crc;

	crc = slow_crc(0, image.b, off);
	crc = slow_crc(crc, zeros, 512);
	crc = slow_crc(crc, image.b + end, image.n - 8 - end);
	put_be64(image.b + image.n - 8, crc | SUM_FLAG);
}

static void
test_ends(void)
{
	start(&plain);
	block_page(1, zeros, 512);
	finish(0);
	image.n = 400;
	refused("file ends early, after 400 bytes", "cut inside a block");
	start(&plain);
	frame_page(1, zeros, 512, true, 0);
	finish(0);
	image.n = 400;
	refused("file ends early, after 400 bytes", "cut inside an LZ4 frame");
	start(&plain);
	block_page(1, zeros, 512);
	image.index[1]++;
	finish(0);
	refused("index", "an index with another offset");
	start(&plain);
	block_page(1, zeros, 512);
	index_page(2, 0);
	finish(0);
	refused("index", "an index with one entry too many");
	start(&plain);
	block_page(1, zeros, 512);
	image.index_size = 0;
	finish(0);
	refused("index", "an empty index");
	start(&plain);
	block_page(1, zeros, 512);
	finish(0);
	image.b[image.n - 17]--;
	sum_again();
	refused("index", "a wrong index length");
	image.b[image.n - 17]++;
	image.b[image.n - 25] = 1;
	sum_again();
	refused("index", "an index without end mark");
	image.b[image.n - 25] = 0;
	sum_again();
	ok(read_image(image.b, image.n) == 1, "good without these");
	start(&plain);
	block_page(1, zeros, 512);
	finish(1);
	refused("post-apply checksum not allowed", "a post-apply checksum");
	start(&plain);
	block_page(1, zeros, 512);
	finish(0);
	image.b[image.n - 8] &= 0x7f;
	refused("file checksum mismatch", "bit 63 of the file checksum clear");
	image.b[image.n - 8] |= 0x80;
	raw("", 1);
	refused("bytes after the trailer", "a byte more");
}

static void
test_checksummed(void)
{
	struct ltx_header h = plain;
	uint64_t post = UINT64_C(0x80d21cd000000000);

	h.flags = 0;
	h.commit = 2;
	start(&h);
	block_page(1, zeros, 512);
	frame_page(2, zeros, 512, true, 0);
	finish(post);
	ok(read_image(image.b, image.n) == 2, "a checksummed file");
	start(&h);
	block_page(1, zeros, 512);
	block_page(2, zeros, 512);
	finish(post ^ 1);
	refused("does not match calculated", "a wrong database checksum");
	h.min_txid = h.max_txid = 2;
	h.pre_checksum = post;
	start(&h);
	block_page(2, zeros, 512);
	finish(post ^ 1);
	ok(read_image(image.b, image.n) == 2, "a checksummed increment");
}

/* Cut and flip: never good with other content. */
static void
mutate(const char *name)
{
	static uint8_t pages[PAGES_MAX * 512], back[PAGES_MAX * 512];
	struct ltx_header h, got;
	int last, rc, fd = temp_file(image.b, image.n);
	size_t i, bad = 0;
	unsigned bit;
	uint8_t b;

	good = image;
	memset(pages, 0, sizeof(pages));
	last = read_pages(fd, pages, &h);
	ok(last > 0, "%s: good before", name);
	for (i = 0; i < good.n; i++)
		for (bit = 0; bit < 8; bit++) {
			b = (uint8_t)(good.b[i] ^ 1u << bit);
			if (pwrite(fd, &b, 1, (off_t)i) != 1)
				die("cannot write");
			memset(back, 0, sizeof(back));
			rc = read_pages(fd, back, &got);
			if (rc != -1 && (rc != last ||
			    memcmp(&h, &got, sizeof(h)) != 0 ||
			    memcmp(pages, back, sizeof(pages)) != 0))
				bad++;
			else if (rc == -1 && err.kind != ERR_DAMAGED)
				bad++;
			if (pwrite(fd, good.b + i, 1, (off_t)i) != 1)
				die("cannot write");
		}
	ok(bad == 0, "%s: no flipped bit gives other content", name);
	for (bad = 0, i = good.n; i-- > 0;) {
		if (ftruncate(fd, (off_t)i) != 0)
			die("cannot truncate");
		if (read_pages(fd, NULL, NULL) != -1 ||
		    err.kind != ERR_DAMAGED)
			bad++;
	}
	ok(bad == 0, "%s: refused when cut anywhere", name);
	(void)close(fd);
}

static const struct ltx_header full = {
	.page_size = 512, .commit = 3, .min_txid = 1, .max_txid = 9,
	.timestamp_ms = 1234567890123, .wal_offset = 32, .wal_size = 4,
	.wal_salt1 = 5, .wal_salt2 = 6, .node_id = 7, .salt = 8,
	.pre_fingerprint = UINT64_C(0x1122334455667788),
	.post_fingerprint = UINT64_C(0x8877665544332211)
};

/* What ltx.c writes under h, into image; its pages by number from 1 on. */
static int
write_image(const struct ltx_header *h, const uint8_t *pages)
{
	struct ltx_writer *w = NULL;
	uint64_t sum = 0, size = 0;
	int fd = temp_file("", 0), rc = -1;
	struct stat st;
	uint32_t i;

	memset(&err, 0, sizeof(err));
	if (ltx_create(&w, fd, "x.ltx", h->page_size, &err) != 0)
		goto out;
	for (i = 1; i <= h->commit; i++)
		if (ltx_write_page(w, i, pages + (i - 1) * h->page_size,
		    &err) != 0)
			goto out;
	if (ltx_finish(w, h, &sum, &size, &err) != 0)
		goto out;
	memset(&image, 0, sizeof(image));
	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != size ||
	    size > sizeof(image.b) ||
	    pread(fd, image.b, size, 0) != (ssize_t)size ||
	    be64(image.b + size - 8) != sum)
		goto out;
	image.n = (size_t)size;
	rc = 0;
out:
	ltx_free(w);
	(void)close(fd);
	return rc;
}

static void
test_mutations(void)
{
	static uint8_t pages[3 * 512];
	struct ltx_header h = plain;
	uint64_t s = SEED;

	fill_random(pages, 1024, &s);
	if (write_image(&full, pages) != 0)
		die("%s", err.text);
	mutate("blocks");
	h.commit = 2;
	start(&h);
	frame_page(1, pages, 512, true, 0);
	memset(pages + 512, 'z', 256);
	frame_page(2, pages + 512, 512, false, 0);
	finish(0);
	mutate("frames");
	h.min_txid = h.max_txid = 5;
	start(&h);
	block_page(2, pages, 512);
	finish(0);
	mutate("increment");
}

static bool
same_header(const struct ltx_header *a, const struct ltx_header *b)
{
	return b->flags == LTX_NO_CHECKSUM && a->page_size == b->page_size &&
	    a->commit == b->commit && a->min_txid == b->min_txid &&
	    a->max_txid == b->max_txid && b->pre_checksum == 0 &&
	    a->timestamp_ms == b->timestamp_ms &&
	    a->wal_offset == b->wal_offset && a->wal_size == b->wal_size &&
	    a->wal_salt1 == b->wal_salt1 && a->wal_salt2 == b->wal_salt2 &&
	    a->node_id == b->node_id && a->salt == b->salt &&
	    a->pre_fingerprint == b->pre_fingerprint &&
	    a->post_fingerprint == b->post_fingerprint;
}

static void
test_round_trip(void)
{
	static uint8_t pages[PAGES_MAX * 65536];
	static uint8_t back[PAGES_MAX * 65536];
	struct ltx_header h = full, got;
	uint64_t s = SEED;
	int rc, fd;

	for (h.page_size = 512; h.page_size <= 65536; h.page_size *= 2) {
		h.commit = PAGES_MAX;
		memset(pages, 0, sizeof(pages));
		fill_random(pages, 5 * h.page_size, &s);
		memset(pages + h.page_size, 'y', h.page_size / 2);
		rc = write_image(&h, pages);
		fd = temp_file(image.b, image.n);
		rc = rc == 0 ? read_pages(fd, back, &got) : -1;
		ok(rc == PAGES_MAX &&
		    memcmp(pages, back, PAGES_MAX * h.page_size) == 0,
		    "round trip, page size %u", (unsigned)h.page_size);
		ok(rc == PAGES_MAX && same_header(&h, &got),
		    "header, page size %u", (unsigned)h.page_size);
		(void)close(fd);
	}
	h = full;
	h.salt = 0;
	h.commit = 1;
	start(&h);
	block_page(1, zeros, 512);
	finish(0);
	fd = temp_file(image.b, image.n);
	(void)read_pages(fd, NULL, &got);
	ok(got.salt == 0 && got.pre_fingerprint == 0 &&
	    got.post_fingerprint == 0, "salt 0: fingerprints unknown");
	(void)close(fd);
}

/* More than any buffer, and an index longer than where it starts. */
static void
test_large(void)
{
	struct ltx_header h = full;
	struct ltx_writer *w;
	struct ltx_reader *r;
	struct ltx_page p;
	uint64_t sum, size, s = SEED, t = SEED;
	uint8_t page[512], want[512];
	bool same = true;
	int fd = temp_file("", 0), rc;
	uint32_t i;

	h.commit = 60000;
	if (ltx_create(&w, fd, "x.ltx", 512, &err) != 0)
		die("%s", err.text);
	for (i = 1; i <= h.commit; i++) {
		memset(page, (int)i, sizeof(page));
		fill_random(page, i % 29, &s);
		if (ltx_write_page(w, i, page, &err) != 0)
			die("%s", err.text);
	}
	if (ltx_finish(w, &h, &sum, &size, &err) != 0 ||
	    ltx_open(&r, fd, "x.ltx", &err) != 0)
		die("%s", err.text);
	ltx_free(w);
	for (i = 0; (rc = ltx_next(r, &p, &err)) == 1;) {
		memset(want, (int)++i, sizeof(want));
		fill_random(want, i % 29, &t);
		same = same && p.pgno == i && memcmp(want, p.data, 512) == 0;
	}
	ok(rc == 0 && same && i == h.commit && ltx_file_checksum(r) == sum &&
	    ltx_bytes_read(r) == size, "60000 pages");
	ltx_close(r);
	(void)close(fd);
}

/* Whole blocks and LZ4 frames copied through ltx_write_block(). */
static void
test_copy(void)
{
	static uint8_t pages[3 * 512], back[3 * 512];
	struct ltx_header h = plain, got;
	struct ltx_writer *w;
	struct ltx_reader *r;
	struct ltx_page p;
	uint64_t sum, size, s = SEED;
	int in, out = temp_file("", 0), blocks = 0, rc;

	fill_random(pages, sizeof(pages), &s);
	h.commit = 3;
	start(&h);
	block_page(1, pages, 512);
	frame_page(2, pages + 512, 512, true, 0);
	block_page(3, pages + 1024, 512);
	finish(0);
	in = temp_file(image.b, image.n);
	if (ltx_open(&r, in, "in.ltx", &err) != 0 ||
	    ltx_create(&w, out, "out.ltx", 512, &err) != 0)
		die("%s", err.text);
	while ((rc = ltx_next(r, &p, &err)) == 1) {
		blocks += p.block != NULL;
		if (ltx_write_block(w, &p, &err) != 0)
			die("%s", err.text);
	}
	ok(rc == 0 && blocks == 2, "blocks are handed out as they stand");
	p.pgno = 4;
	p.block_size = 1024;
	p.block = p.data;
	ok(ltx_write_block(w, &p, &err) == -1, "no block above the worst case");
	rc = ltx_finish(w, &h, &sum, &size, &err);
	ok(rc == 0 && read_pages(out, back, &got) == 3 &&
	    memcmp(pages, back, sizeof(pages)) == 0, "copied pages");
	ltx_close(r);
	ltx_free(w);
	(void)close(in);
	(void)close(out);
}

/* Pages a and b under this header: -1 if ltx.c does not write that, -2 if it
 * does not read what it wrote, else the last page number. */
static int
try_write(uint32_t page_size, uint32_t a, uint32_t b, struct ltx_header h)
{
	struct ltx_writer *w = NULL;
	int fd = temp_file("", 0), rc = -1;
	uint64_t sum, size;

	memset(&err, 0, sizeof(err));
	if (ltx_create(&w, fd, "x.ltx", page_size, &err) == 0 &&
	    ltx_write_page(w, a, zeros, &err) == 0 &&
	    ltx_write_page(w, b, zeros, &err) == 0 &&
	    ltx_finish(w, &h, &sum, &size, &err) == 0 &&
	    (rc = read_pages(fd, NULL, NULL)) == -1)
		rc = -2;
	ltx_free(w);
	(void)close(fd);
	return rc;
}

static void
test_refusals(void)
{
	struct ltx_header h = full;

	h.min_txid = h.max_txid = 2;
	ok(try_write(512, 1, 3, h) == 3, "writer takes an increment");
	ok(try_write(1000, 1, 3, h) == -1, "writer refuses a page size");
	ok(try_write(1024, 1, 3, h) == -1, "writer refuses two page sizes");
	ok(try_write(512, 0, 3, h) == -1, "writer refuses page 0");
	ok(try_write(512, 3, 3, h) == -1, "writer refuses a page twice");
	ok(try_write(512, 3, 1, h) == -1, "writer refuses descending pages");
	ok(try_write(512, 1, 4, h) == -1, "writer refuses a page past commit");
	h.commit = 0;
	ok(try_write(512, 1, 3, h) == -1, "writer refuses commit 0");
	h.commit = 3;
	h.max_txid = 0;
	ok(try_write(512, 1, 3, h) == -1, "writer refuses TXID 0");
	h = full;
	ok(try_write(512, 1, 3, h) == -1, "writer refuses a hole");
	ok(try_write(512, 1, 2, h) == -1, "writer refuses a missing end");
	ok(try_write(512, 2, 3, h) == -1, "writer refuses a missing start");
	h.commit = 2;
	ok(try_write(512, 1, 2, h) == 2, "writer takes all pages");
	h.commit = 20000;
	h.min_txid = 2;
	h.page_size = 65536;
	ok(try_write(65536, 16385, 16386, h) == -1 &&
	    strstr(err.text, "lock page") != NULL,
	    "writer refuses the lock page");
	ok(try_write(65536, 16384, 16386, h) == 16386,
	    "writer takes pages around it");
}

/* A complete database with the lock page inside. */
static void
test_lock_page(void)
{
	struct ltx_header h = full;
	struct ltx_writer *w;
	uint64_t sum, size;
	int fd = temp_file("", 0), rc = 0;
	uint32_t i;

	h.page_size = 65536;
	h.commit = 16387;
	if (ltx_create(&w, fd, "x.ltx", h.page_size, &err) != 0)
		die("%s", err.text);
	for (i = 1; rc == 0 && i <= h.commit; i++)
		if (i != 16385)
			rc = ltx_write_page(w, i, zeros, &err);
	ok(rc == 0 && ltx_finish(w, &h, &sum, &size, &err) == 0 &&
	    read_pages(fd, NULL, NULL) == 16387,
	    "all pages but the lock page are all pages");
	ltx_free(w);
	(void)close(fd);
}

int
main(void)
{
	test_crc();
	test_vectors();
	test_encodings();
	test_headers();
	test_files();
	test_pages();
	test_ends();
	test_checksummed();
	test_mutations();
	test_round_trip();
	test_large();
	test_copy();
	test_refusals();
	test_lock_page();
	return done_testing();
}
