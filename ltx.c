/* SPDX-License-Identifier: ISC */
/*
 * The LTX file format, version 3.  Integers are big-endian.
 *
 *	header		100 bytes
 *	page		any number: pgno u32 > 0, flags u16, then
 *			flags 1: size u32, an LZ4 block of so many bytes
 *			flags 0: an LZ4 frame, which knows its own end
 *	end of pages	6 zero bytes
 *	index		per page uvarint pgno, offset in the file, length with
 *			the 6 bytes; a zero byte; u64 length of all that
 *	trailer		u64 database checksum after, u64 file checksum
 *
 * Header: 0 "LTX1", 4 flags u32, 8 page size u32, 12 commit u32, 16 min TXID
 * u64, 24 max TXID u64, 32 timestamp i64 in ms, 40 database checksum before
 * u64, 48 WAL offset i64, 56 WAL size i64, 64 salt1 u32, 68 salt2 u32, 72
 * node id u64, 80 salt u32, 84 fingerprint before u64, 92 fingerprint after
 * u64.  The last three are ours: others write zeros there, hash them, and do
 * not read them.
 *
 * Valid if and only if: the header passes check_header(); page numbers
 * ascend, none is past commit or is the lock page; where min TXID is 1 all
 * pages of the database are there; each decompresses to exactly a page; the
 * index is what the pages say; the file checksum is right; nothing follows.
 * The file checksum is the CRC-64 with bit 63 set over everything before it,
 * compressed data taken uncompressed (LZ4 frames have neither size nor header
 * in it).  The database checksums are 0 under LTX_NO_CHECKSUM; else the XOR
 * of the CRC-64 of each page number and page, bit 63 set.
 *
 * A reader's memory does not depend on the file: lengths are bounded before
 * they are used, and the index is compared by a hash that grows with the
 * pages.  The writer keeps the index, some ten bytes per page.
 *
 * The writer puts zeros where the header belongs and overwrites them last, so
 * an unfinished file has no magic.  It combines the file checksum from that
 * of the header and that of the rest.
 */
#include <sys/stat.h>
#include <errno.h>
#include <lz4.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "be.h"
#include "crc64.h"
#include "disk.h"
#include "ltx.h"

#define MAGIC "LTX1"
#define MAGIC_SIZE 4
#define SUM_FLAG (UINT64_C(1) << 63)
#define SUM_SIZE 8
#define PAGE_SIZE_MIN 512
#define PAGE_SIZE_MAX 65536
#define LOCK_BYTE 0x40000000u
#define PAGE_HEADER_SIZE 6
#define PAGE_IS_BLOCK 1u
#define BLOCK_HEADER_SIZE (PAGE_HEADER_SIZE + 4)
/* What an LZ4 frame has beside its blocks: headers, end mark, checksums. */
#define FRAME_EXTRA 64
#define INDEX_ENTRY_MAX 20
#define INDEX_END_SIZE 9
#define READ_SIZE (64 * 1024)
#define WRITE_SIZE (256 * 1024)

struct ltx_reader {
	int fd;
	const char *path;
	struct ltx_header header;
	uint32_t last;			/* page number */
	uint64_t crc;			/* file checksum so far */
	uint64_t pages_sum;		/* database checksum so far */
	XXH3_state_t *index;		/* hash of what the index must be */
	uint64_t index_size;
	uint64_t post_checksum, file_checksum;
	LZ4F_dctx *lz4;			/* from the first LZ4 frame on */
	uint8_t *page;
	uint8_t *buf;			/* unread: pos to end */
	size_t pos, end, cap;
	uint64_t base;			/* where buf lies in the file */
	bool eof, done;
};

struct ltx_writer {
	int fd;
	const char *path;
	uint32_t page_size;
	uint32_t last;			/* page number */
	bool gapless;			/* all pages from 1 to last */
	uint64_t crc, hashed;		/* behind the header: CRC, of bytes */
	uint64_t size;			/* of the file, buf included */
	uint8_t *buf;
	size_t n, cap;
	uint8_t *index;
	size_t index_size, index_cap;
	void *lz4;
};

uint32_t
ltx_lock_page(uint32_t page_size)
{
	return LOCK_BYTE / page_size + 1;
}

bool
ltx_page_size_ok(uint32_t page_size)
{
	return page_size >= PAGE_SIZE_MIN && page_size <= PAGE_SIZE_MAX &&
	    (page_size & (page_size - 1)) == 0;
}

uint64_t
ltx_page_hash(uint32_t salt, uint32_t pgno, const uint8_t *page,
    uint32_t page_size)
{
	return XXH3_64bits_withSeed(page, page_size,
	    (uint64_t)salt << 32 | pgno);
}

/* The page number that comes after in a file with all pages. */
static uint32_t
next_page(uint32_t pgno, uint32_t page_size)
{
	return ++pgno == ltx_lock_page(page_size) ? pgno + 1 : pgno;
}

/* The most that one page may take in the file. */
static size_t
frame_max(uint32_t page_size)
{
	return FRAME_EXTRA + (size_t)LZ4_compressBound((int)page_size);
}

static size_t
put_uvarint(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	return n;
}

static size_t
put_index_entry(uint8_t *p, uint32_t pgno, uint64_t off, uint64_t size)
{
	size_t n;

	n = put_uvarint(p, pgno);
	n += put_uvarint(p + n, off);
	return n + put_uvarint(p + n, size);
}

/* What is wrong with a header whose flags and page size are right. */
static const char *
header_fault(const struct ltx_header *h)
{
	if (h->commit == 0)
		return "commit size required";
	if (h->min_txid == 0)
		return "minimum transaction id required";
	if (h->max_txid == 0)
		return "maximum transaction id required";
	if (h->wal_offset < 0)
		return "wal offset cannot be negative";
	if (h->wal_size < 0)
		return "wal size cannot be negative";
	if (h->wal_offset == 0 && (h->wal_salt1 != 0 || h->wal_salt2 != 0))
		return "wal offset required if salt exists";
	if (h->wal_offset == 0 && h->wal_size != 0)
		return "wal offset required if wal size exists";
	if (h->min_txid == 1)
		return h->pre_checksum == 0 ? NULL :
		    "pre-apply checksum must be zero on snapshots";
	if (h->flags & LTX_NO_CHECKSUM)
		return h->pre_checksum == 0 ? NULL :
		    "pre-apply checksum not allowed";
	if (h->pre_checksum == 0)
		return "pre-apply checksum required on non-snapshot files";
	if ((h->pre_checksum & SUM_FLAG) == 0)
		return "invalid pre-apply checksum format";
	return NULL;
}

static int
check_header(const struct ltx_header *h, const char *path, struct err *e)
{
	const char *fault;

	if (h->flags & ~LTX_NO_CHECKSUM)
		return err_set(e, ERR_DAMAGED, "%s: invalid flags: 0x%08x",
		    path, (unsigned)h->flags);
	if (!ltx_page_size_ok(h->page_size))
		return err_set(e, ERR_DAMAGED, "%s: invalid page size: %u",
		    path, (unsigned)h->page_size);
	if ((fault = header_fault(h)) != NULL)
		return err_set(e, ERR_DAMAGED, "%s: %s", path, fault);
	if (h->min_txid > h->max_txid)
		return err_set(e, ERR_DAMAGED,
		    "%s: transaction ids out of order: (%llu,%llu)", path,
		    (unsigned long long)h->min_txid,
		    (unsigned long long)h->max_txid);
	return 0;
}

int
ltx_parse_header(const uint8_t *p, struct ltx_header *h, const char *path,
    struct err *e)
{
	if (memcmp(p, MAGIC, MAGIC_SIZE) != 0)
		return err_set(e, ERR_DAMAGED, "%s: invalid LTX file", path);
	h->flags = be32(p + 4);
	h->page_size = be32(p + 8);
	h->commit = be32(p + 12);
	h->min_txid = be64(p + 16);
	h->max_txid = be64(p + 24);
	h->timestamp_ms = (int64_t)be64(p + 32);
	h->pre_checksum = be64(p + 40);
	h->wal_offset = (int64_t)be64(p + 48);
	h->wal_size = (int64_t)be64(p + 56);
	h->wal_salt1 = be32(p + 64);
	h->wal_salt2 = be32(p + 68);
	h->node_id = be64(p + 72);
	h->salt = be32(p + 80);
	h->pre_fingerprint = h->salt != 0 ? be64(p + 84) : 0;
	h->post_fingerprint = h->salt != 0 ? be64(p + 92) : 0;
	return check_header(h, path, e);
}

static void
put_header(uint8_t *p, const struct ltx_header *h)
{
	memcpy(p, MAGIC, MAGIC_SIZE);
	put_be32(p + 4, h->flags);
	put_be32(p + 8, h->page_size);
	put_be32(p + 12, h->commit);
	put_be64(p + 16, h->min_txid);
	put_be64(p + 24, h->max_txid);
	put_be64(p + 32, (uint64_t)h->timestamp_ms);
	put_be64(p + 40, h->pre_checksum);
	put_be64(p + 48, (uint64_t)h->wal_offset);
	put_be64(p + 56, (uint64_t)h->wal_size);
	put_be32(p + 64, h->wal_salt1);
	put_be32(p + 68, h->wal_salt2);
	put_be64(p + 72, h->node_id);
	put_be32(p + 80, h->salt);
	put_be64(p + 84, h->salt != 0 ? h->pre_fingerprint : 0);
	put_be64(p + 92, h->salt != 0 ? h->post_fingerprint : 0);
}

/* As many of n bytes as there are before the end of the file, or -1. */
static ssize_t
read_at(int fd, uint8_t *p, size_t n, uint64_t off, const char *path,
    struct err *e)
{
	size_t done = 0;
	ssize_t k;

	while (done < n) {
		k = pread(fd, p + done, n - done, (off_t)(off + done));
		if (k == 0)
			break;
		if (k > 0)
			done += (size_t)k;
		else if (errno != EINTR)
			return err_sys(e, path, "read");
	}
	return (ssize_t)done;
}

/* A regular file with room for a header. */
static int
check_file(int fd, const char *path, uint64_t *size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, path, "stat");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_DAMAGED,
		    "invalid ltx file: %s is not a regular file", path);
	if (st.st_size < LTX_HEADER_SIZE)
		return err_set(e, ERR_DAMAGED,
		    "invalid ltx file: %s has size %lld bytes (minimum %d)",
		    path, (long long)st.st_size, LTX_HEADER_SIZE);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int
cut_off(const struct ltx_reader *r, struct err *e)
{
	return err_set(e, ERR_DAMAGED, "%s: file ends early, after %llu bytes",
	    r->path, (unsigned long long)(r->base + r->end));
}

int
ltx_open(struct ltx_reader **out, int fd, const char *path, struct err *e)
{
	uint8_t head[LTX_HEADER_SIZE];
	struct ltx_reader *r = NULL;
	uint64_t size;
	ssize_t n;

	if (check_file(fd, path, &size, e) != 0)
		return -1;
	r = xcalloc(1, sizeof(*r));
	r->fd = fd;
	r->path = path;
	n = read_at(fd, head, sizeof(head), 0, path, e);
	if (n == -1)
		goto fail;
	r->base = (uint64_t)n;
	if (n < LTX_HEADER_SIZE) {
		cut_off(r, e);
		goto fail;
	}
	if (ltx_parse_header(head, &r->header, path, e) != 0)
		goto fail;
	r->crc = crc64(0, head, sizeof(head));
	r->cap = READ_SIZE + frame_max(r->header.page_size);
	r->buf = xmalloc(r->cap);
	r->page = xmalloc(r->header.page_size);
	if ((r->index = XXH3_createState()) == NULL) {
		err_sys(e, path, "hash");
		goto fail;
	}
	XXH3_64bits_reset(r->index);
	*out = r;
	return 0;
fail:
	ltx_close(r);
	return -1;
}

const struct ltx_header *
ltx_header(const struct ltx_reader *r)
{
	return &r->header;
}

uint64_t
ltx_post_checksum(const struct ltx_reader *r)
{
	return r->post_checksum;
}

uint64_t
ltx_file_checksum(const struct ltx_reader *r)
{
	return r->file_checksum;
}

uint64_t
ltx_bytes_read(const struct ltx_reader *r)
{
	return r->base + r->pos;
}

void
ltx_close(struct ltx_reader *r)
{
	if (r == NULL)
		return;
	(void)LZ4F_freeDecompressionContext(r->lz4);
	(void)XXH3_freeState(r->index);
	free(r->page);
	free(r->buf);
	free(r);
}

static size_t
unread(const struct ltx_reader *r)
{
	return r->end - r->pos;
}

/* Have want bytes unread, or all that the file still has. */
static int
fill(struct ltx_reader *r, size_t want, struct err *e)
{
	ssize_t n;

	if (unread(r) >= want || r->eof)
		return 0;
	memmove(r->buf, r->buf + r->pos, unread(r));
	r->base += r->pos;
	r->end -= r->pos;
	r->pos = 0;
	n = read_at(r->fd, r->buf + r->end, r->cap - r->end,
	    r->base + r->end, r->path, e);
	if (n == -1)
		return -1;
	r->end += (size_t)n;
	r->eof = r->end < r->cap;
	return 0;
}

/* Count n unread bytes into the file checksum and go past them. */
static void
take(struct ltx_reader *r, size_t n)
{
	r->crc = crc64(r->crc, r->buf + r->pos, n);
	r->pos += n;
}

static int
check_pgno(const struct ltx_reader *r, uint32_t pgno, struct err *e)
{
	const struct ltx_header *h = &r->header;
	uint32_t next = next_page(r->last, h->page_size);

	if (pgno > h->commit)
		return err_set(e, ERR_DAMAGED,
		    "%s: page number %u out-of-bounds for commit size %u",
		    r->path, (unsigned)pgno, (unsigned)h->commit);
	if (pgno == ltx_lock_page(h->page_size))
		return err_set(e, ERR_DAMAGED, "%s: page %u is the lock page",
		    r->path, (unsigned)pgno);
	if (pgno <= r->last)
		return err_set(e, ERR_DAMAGED,
		    "%s: out-of-order page numbers: %u,%u", r->path,
		    (unsigned)r->last, (unsigned)pgno);
	if (h->min_txid == 1 && pgno != next)
		return err_set(e, ERR_DAMAGED,
		    "%s: page %u is missing, page %u follows page %u",
		    r->path, (unsigned)next, (unsigned)pgno,
		    (unsigned)r->last);
	return 0;
}

static int
bad_data(const struct ltx_reader *r, uint32_t pgno, struct err *e)
{
	return err_set(e, ERR_DAMAGED, "%s: page %u: invalid LZ4 data",
	    r->path, (unsigned)pgno);
}

/* A page as LZ4 block, from its page header on. */
static int
read_block(struct ltx_reader *r, struct ltx_page *p, struct err *e)
{
	const uint8_t *f = r->buf + r->pos;
	int page_size = (int)r->header.page_size;

	if (unread(r) < BLOCK_HEADER_SIZE)
		return cut_off(r, e);
	p->block_size = be32(f + PAGE_HEADER_SIZE);
	if (p->block_size > (uint32_t)LZ4_compressBound(page_size))
		return err_set(e, ERR_DAMAGED,
		    "%s: page %u: compressed size %u is too large", r->path,
		    (unsigned)p->pgno, (unsigned)p->block_size);
	if (unread(r) - BLOCK_HEADER_SIZE < p->block_size)
		return cut_off(r, e);
	p->block = f + BLOCK_HEADER_SIZE;
	if (LZ4_decompress_safe((const char *)p->block, (char *)r->page,
	    (int)p->block_size, page_size) != page_size)
		return bad_data(r, p->pgno, e);
	take(r, BLOCK_HEADER_SIZE);
	r->pos += p->block_size;
	return 0;
}

/* The same as LZ4 frame, whose checksum the library verifies. */
static int
read_frame(struct ltx_reader *r, struct ltx_page *p, struct err *e)
{
	const uint8_t *f = r->buf + r->pos + PAGE_HEADER_SIZE;
	size_t in, left, out = r->header.page_size;

	if (r->lz4 == NULL && LZ4F_isError(
	    LZ4F_createDecompressionContext(&r->lz4, LZ4F_VERSION))) {
		errno = ENOMEM;
		return err_sys(e, r->path, "LZ4");
	}
	in = frame_max(r->header.page_size);
	if (in > unread(r))
		in = unread(r);
	in -= PAGE_HEADER_SIZE;
	left = LZ4F_decompress(r->lz4, r->page, &out, f, &in, NULL);
	if (left != 0 && !LZ4F_isError(left) && r->eof &&
	    f + in == r->buf + r->end)
		return cut_off(r, e);
	if (left != 0 || out != r->header.page_size)
		return bad_data(r, p->pgno, e);
	p->block = NULL;
	p->block_size = 0;
	take(r, PAGE_HEADER_SIZE);
	r->pos += in;
	return 0;
}

/* The page at off has been read: count it into the file checksum, the index
 * and the database checksum. */
static void
count_page(struct ltx_reader *r, uint32_t pgno, uint64_t off)
{
	uint32_t page_size = r->header.page_size;
	uint8_t entry[INDEX_ENTRY_MAX], be_pgno[4];
	size_t n;

	r->last = pgno;
	r->crc = crc64(r->crc, r->page, page_size);
	n = put_index_entry(entry, pgno, off, ltx_bytes_read(r) - off);
	(void)XXH3_64bits_update(r->index, entry, n);
	r->index_size += n;
	if (r->header.flags & LTX_NO_CHECKSUM)
		return;
	put_be32(be_pgno, pgno);
	r->pages_sum ^= crc64(crc64(0, be_pgno, sizeof(be_pgno)), r->page,
	    page_size);
}

static int
read_index(struct ltx_reader *r, struct err *e)
{
	uint64_t want = XXH3_64bits_digest(r->index), left;
	const uint8_t *p;
	size_t n;

	XXH3_64bits_reset(r->index);
	for (left = r->index_size; left > 0; left -= n) {
		if (fill(r, 1, e) != 0)
			return -1;
		if ((n = unread(r)) == 0)
			return cut_off(r, e);
		if (n > left)
			n = (size_t)left;
		(void)XXH3_64bits_update(r->index, r->buf + r->pos, n);
		take(r, n);
	}
	if (fill(r, INDEX_END_SIZE, e) != 0)
		return -1;
	if (unread(r) < INDEX_END_SIZE)
		return cut_off(r, e);
	p = r->buf + r->pos;
	if (XXH3_64bits_digest(r->index) != want || p[0] != 0 ||
	    be64(p + 1) != r->index_size + 1)
		return err_set(e, ERR_DAMAGED,
		    "%s: page index does not match the pages", r->path);
	take(r, INDEX_END_SIZE);
	return 0;
}

static int
read_trailer(struct ltx_reader *r, struct err *e)
{
	const struct ltx_header *h = &r->header;

	if (fill(r, LTX_TRAILER_SIZE + 1, e) != 0)
		return -1;
	if (unread(r) < LTX_TRAILER_SIZE)
		return cut_off(r, e);
	if (unread(r) > LTX_TRAILER_SIZE)
		return err_set(e, ERR_DAMAGED, "%s: bytes after the trailer",
		    r->path);
	r->post_checksum = be64(r->buf + r->pos);
	take(r, SUM_SIZE);
	r->file_checksum = be64(r->buf + r->pos);
	r->pos += SUM_SIZE;
	if (r->file_checksum != (r->crc | SUM_FLAG))
		return err_set(e, ERR_DAMAGED, "%s: file checksum mismatch",
		    r->path);
	if (h->flags & LTX_NO_CHECKSUM && r->post_checksum != 0)
		return err_set(e, ERR_DAMAGED,
		    "%s: post-apply checksum not allowed", r->path);
	if (!(h->flags & LTX_NO_CHECKSUM) && h->min_txid == 1 &&
	    r->post_checksum != (r->pages_sum | SUM_FLAG))
		return err_set(e, ERR_DAMAGED, "%s: post-apply checksum in "
		    "trailer (%016llx) does not match calculated checksum "
		    "(%016llx)", r->path, (unsigned long long)r->post_checksum,
		    (unsigned long long)(r->pages_sum | SUM_FLAG));
	r->done = true;
	return 0;
}

/* Everything behind the last page. */
static int
read_end(struct ltx_reader *r, struct err *e)
{
	uint32_t next = next_page(r->last, r->header.page_size);

	if (r->header.min_txid == 1 && next <= r->header.commit)
		return err_set(e, ERR_DAMAGED,
		    "%s: page %u is missing, the last one is page %u",
		    r->path, (unsigned)next, (unsigned)r->last);
	take(r, PAGE_HEADER_SIZE);
	if (read_index(r, e) != 0)
		return -1;
	return read_trailer(r, e);
}

int
ltx_next(struct ltx_reader *r, struct ltx_page *p, struct err *e)
{
	uint64_t off;
	unsigned flags;
	int rc;

	if (r->done)
		return 0;
	if (fill(r, frame_max(r->header.page_size), e) != 0)
		return -1;
	if (unread(r) < PAGE_HEADER_SIZE)
		return cut_off(r, e);
	p->pgno = be32(r->buf + r->pos);
	flags = be16(r->buf + r->pos + 4);
	if (flags & ~PAGE_IS_BLOCK)
		return err_set(e, ERR_DAMAGED,
		    "%s: invalid page header flags: 0x%04x", r->path, flags);
	if (p->pgno == 0 && flags != 0)
		return err_set(e, ERR_DAMAGED, "%s: page number required",
		    r->path);
	if (p->pgno == 0)
		return read_end(r, e);
	if (check_pgno(r, p->pgno, e) != 0)
		return -1;
	off = ltx_bytes_read(r);
	if (flags & PAGE_IS_BLOCK)
		rc = read_block(r, p, e);
	else
		rc = read_frame(r, p, e);
	if (rc != 0)
		return -1;
	count_page(r, p->pgno, off);
	p->data = r->page;
	return 1;
}

int
ltx_read_file_checksum(int fd, const char *path, uint64_t *sum, struct err *e)
{
	uint8_t b[SUM_SIZE];
	uint64_t size;
	ssize_t n;

	if (check_file(fd, path, &size, e) != 0)
		return -1;
	n = read_at(fd, b, sizeof(b), size - sizeof(b), path, e);
	if (n == -1)
		return -1;
	if (n < SUM_SIZE)
		return err_set(e, ERR_DAMAGED,
		    "%s: file was cut while it was read", path);
	*sum = be64(b);
	return 0;
}

int
ltx_create(struct ltx_writer **out, int fd, const char *path,
    uint32_t page_size, struct err *e)
{
	struct ltx_writer *w;

	if (!ltx_page_size_ok(page_size))
		return err_set(e, ERR_DAMAGED, "%s: invalid page size: %u",
		    path, (unsigned)page_size);
	w = xcalloc(1, sizeof(*w));
	w->fd = fd;
	w->path = path;
	w->page_size = page_size;
	w->gapless = true;
	w->cap = WRITE_SIZE + frame_max(page_size);
	w->buf = xmalloc(w->cap);
	w->index_cap = WRITE_SIZE;
	w->index = xmalloc(w->index_cap);
	w->lz4 = xmalloc((size_t)LZ4_sizeofState());
	memset(w->buf, 0, LTX_HEADER_SIZE);
	w->n = w->size = LTX_HEADER_SIZE;
	*out = w;
	return 0;
}

void
ltx_free(struct ltx_writer *w)
{
	if (w == NULL)
		return;
	free(w->lz4);
	free(w->index);
	free(w->buf);
	free(w);
}

static int
flush(struct ltx_writer *w, struct err *e)
{
	if (disk_write(w->fd, w->buf, w->n, w->path, e) != 0)
		return -1;
	w->n = 0;
	return 0;
}

static void
hash(struct ltx_writer *w, const void *p, size_t n)
{
	w->crc = crc64(w->crc, p, n);
	w->hashed += n;
}

/* May this page come now?  Make room for it. */
static int
begin_page(struct ltx_writer *w, uint32_t pgno, struct err *e)
{
	if (pgno == ltx_lock_page(w->page_size))
		return err_set(e, ERR_DAMAGED,
		    "%s: cannot encode lock page: pgno=%u", w->path,
		    (unsigned)pgno);
	if (pgno <= w->last)
		return err_set(e, ERR_DAMAGED,
		    "%s: out-of-order page numbers: %u,%u", w->path,
		    (unsigned)w->last, (unsigned)pgno);
	if (w->cap - w->n < frame_max(w->page_size))
		return flush(w, e);
	return 0;
}

/* The block stands in buf already, its header goes before it. */
static void
end_page(struct ltx_writer *w, uint32_t pgno, const uint8_t *data,
    size_t block_size)
{
	uint8_t *f = w->buf + w->n;
	size_t size = BLOCK_HEADER_SIZE + block_size;

	put_be32(f, pgno);
	put_be16(f + 4, PAGE_IS_BLOCK);
	put_be32(f + PAGE_HEADER_SIZE, (uint32_t)block_size);
	hash(w, f, BLOCK_HEADER_SIZE);
	hash(w, data, w->page_size);
	if (w->index_cap - w->index_size < INDEX_ENTRY_MAX) {
		w->index_cap *= 2;
		w->index = xrealloc(w->index, w->index_cap);
	}
	w->index_size += put_index_entry(w->index + w->index_size, pgno,
	    w->size, size);
	if (pgno != next_page(w->last, w->page_size))
		w->gapless = false;
	w->last = pgno;
	w->n += size;
	w->size += size;
}

int
ltx_write_page(struct ltx_writer *w, uint32_t pgno, const uint8_t *data,
    struct err *e)
{
	int n, bound = LZ4_compressBound((int)w->page_size);

	if (begin_page(w, pgno, e) != 0)
		return -1;
	n = LZ4_compress_fast_extState(w->lz4, (const char *)data,
	    (char *)w->buf + w->n + BLOCK_HEADER_SIZE, (int)w->page_size,
	    bound, 1);
	end_page(w, pgno, data, (size_t)n);
	return 0;
}

int
ltx_write_block(struct ltx_writer *w, const struct ltx_page *p, struct err *e)
{
	if (p->block == NULL)
		return ltx_write_page(w, p->pgno, p->data, e);
	if (p->block_size > (uint32_t)LZ4_compressBound((int)w->page_size))
		return err_set(e, ERR_DAMAGED,
		    "%s: page %u: compressed size %u is too large", w->path,
		    (unsigned)p->pgno, (unsigned)p->block_size);
	if (begin_page(w, p->pgno, e) != 0)
		return -1;
	memcpy(w->buf + w->n + BLOCK_HEADER_SIZE, p->block, p->block_size);
	end_page(w, p->pgno, p->data, p->block_size);
	return 0;
}

/* Do the header and the pages that were written belong together? */
static int
check_pages(const struct ltx_writer *w, const struct ltx_header *h,
    struct err *e)
{
	if (check_header(h, w->path, e) != 0)
		return -1;
	if (h->page_size != w->page_size)
		return err_set(e, ERR_DAMAGED,
		    "%s: page size %u in the header, %u in the pages",
		    w->path, (unsigned)h->page_size, (unsigned)w->page_size);
	if (w->last > h->commit)
		return err_set(e, ERR_DAMAGED,
		    "%s: page number %u out-of-bounds for commit size %u",
		    w->path, (unsigned)w->last, (unsigned)h->commit);
	if (h->min_txid == 1 && (!w->gapless ||
	    next_page(w->last, w->page_size) <= h->commit))
		return err_set(e, ERR_DAMAGED, "%s: not all of %u pages in a "
		    "file that begins with transaction 1", w->path,
		    (unsigned)h->commit);
	return 0;
}

int
ltx_finish(struct ltx_writer *w, const struct ltx_header *h,
    uint64_t *file_checksum, uint64_t *size, struct err *e)
{
	uint8_t tail[INDEX_END_SIZE + LTX_TRAILER_SIZE] = {0};
	uint8_t head[LTX_HEADER_SIZE];
	struct ltx_header header = *h;
	uint64_t sum;

	header.flags = LTX_NO_CHECKSUM;
	header.pre_checksum = 0;
	if (check_pages(w, &header, e) != 0)
		return -1;
	put_header(head, &header);
	memset(w->buf + w->n, 0, PAGE_HEADER_SIZE);
	hash(w, w->buf + w->n, PAGE_HEADER_SIZE);
	w->n += PAGE_HEADER_SIZE;
	hash(w, w->index, w->index_size);
	put_be64(tail + 1, w->index_size + 1);
	hash(w, tail, sizeof(tail) - SUM_SIZE);
	sum = SUM_FLAG | crc64_combine(crc64(0, head, sizeof(head)), w->crc,
	    w->hashed);
	put_be64(tail + sizeof(tail) - SUM_SIZE, sum);
	if (flush(w, e) != 0 ||
	    disk_write(w->fd, w->index, w->index_size, w->path, e) != 0 ||
	    disk_write(w->fd, tail, sizeof(tail), w->path, e) != 0 ||
	    disk_pwrite(w->fd, head, sizeof(head), 0, w->path, e) != 0)
		return -1;
	*file_checksum = sum;
	*size = w->size + PAGE_HEADER_SIZE + w->index_size + sizeof(tail);
	return 0;
}
