/* SPDX-License-Identifier: ISC */
/*
 * Reading LTX files (ltx.c has the format).
 *
 * A reader's memory does not depend on the file: lengths are bounded before
 * they are used, and the index is compared by a hash that grows with the
 * pages.
 */
#include <sys/stat.h>

#include <errno.h>
#include <lz4.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "be.h"
#include "crc64.h"
#include "disk.h"
#include "ltx.h"
#include "ltx_format.h"

#define READ_SIZE (64 * 1024)

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
	n = disk_pread(fd, head, sizeof(head), 0, path, e);
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
	r->cap = READ_SIZE + ltx_frame_max(r->header.page_size);
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
	n = disk_pread(r->fd, r->buf + r->end, r->cap - r->end,
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
	uint32_t next = ltx_next_page(r->last, h->page_size);

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

	if (unread(r) < LTX_BLOCK_HEADER_SIZE)
		return cut_off(r, e);
	p->block_size = be32(f + LTX_PAGE_HEADER_SIZE);
	if (p->block_size > (uint32_t)LZ4_compressBound(page_size))
		return err_set(e, ERR_DAMAGED,
		    "%s: page %u: compressed size %u is too large", r->path,
		    (unsigned)p->pgno, (unsigned)p->block_size);
	if (unread(r) - LTX_BLOCK_HEADER_SIZE < p->block_size)
		return cut_off(r, e);
	p->block = f + LTX_BLOCK_HEADER_SIZE;
	if (LZ4_decompress_safe((const char *)p->block, (char *)r->page,
	    (int)p->block_size, page_size) != page_size)
		return bad_data(r, p->pgno, e);
	take(r, LTX_BLOCK_HEADER_SIZE);
	r->pos += p->block_size;
	return 0;
}

/* The same as LZ4 frame, whose checksum the library verifies. */
static int
read_frame(struct ltx_reader *r, struct ltx_page *p, struct err *e)
{
	const uint8_t *f = r->buf + r->pos + LTX_PAGE_HEADER_SIZE;
	size_t in, left, out = r->header.page_size;

	if (r->lz4 == NULL && LZ4F_isError(
	    LZ4F_createDecompressionContext(&r->lz4, LZ4F_VERSION))) {
		errno = ENOMEM;
		return err_sys(e, r->path, "LZ4");
	}
	in = ltx_frame_max(r->header.page_size);
	if (in > unread(r))
		in = unread(r);
	in -= LTX_PAGE_HEADER_SIZE;
	left = LZ4F_decompress(r->lz4, r->page, &out, f, &in, NULL);
	if (left != 0 && !LZ4F_isError(left) && r->eof &&
	    f + in == r->buf + r->end)
		return cut_off(r, e);
	if (left != 0 || out != r->header.page_size)
		return bad_data(r, p->pgno, e);
	p->block = NULL;
	p->block_size = 0;
	take(r, LTX_PAGE_HEADER_SIZE);
	r->pos += in;
	return 0;
}

/* The page at off has been read: count it into the file checksum, the index
 * and the database checksum. */
static void
count_page(struct ltx_reader *r, uint32_t pgno, uint64_t off)
{
	uint32_t page_size = r->header.page_size;
	uint8_t entry[LTX_INDEX_ENTRY_MAX], be_pgno[4];
	size_t n;

	r->last = pgno;
	r->crc = crc64(r->crc, r->page, page_size);
	n = ltx_put_index_entry(entry, pgno, off, ltx_bytes_read(r) - off);
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
	if (fill(r, LTX_INDEX_END_SIZE, e) != 0)
		return -1;
	if (unread(r) < LTX_INDEX_END_SIZE)
		return cut_off(r, e);
	p = r->buf + r->pos;
	if (XXH3_64bits_digest(r->index) != want || p[0] != 0 ||
	    be64(p + 1) != r->index_size + 1)
		return err_set(e, ERR_DAMAGED,
		    "%s: page index does not match the pages", r->path);
	take(r, LTX_INDEX_END_SIZE);
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
	take(r, LTX_SUM_SIZE);
	r->file_checksum = be64(r->buf + r->pos);
	r->pos += LTX_SUM_SIZE;
	if (r->file_checksum != (r->crc | LTX_SUM_FLAG))
		return err_set(e, ERR_DAMAGED, "%s: file checksum mismatch",
		    r->path);
	if (h->flags & LTX_NO_CHECKSUM && r->post_checksum != 0)
		return err_set(e, ERR_DAMAGED,
		    "%s: post-apply checksum not allowed", r->path);
	if (!(h->flags & LTX_NO_CHECKSUM) && h->min_txid == 1 &&
	    r->post_checksum != (r->pages_sum | LTX_SUM_FLAG))
		return err_set(e, ERR_DAMAGED, "%s: post-apply checksum in "
		    "trailer (%016llx) does not match calculated checksum "
		    "(%016llx)", r->path, (unsigned long long)r->post_checksum,
		    (unsigned long long)(r->pages_sum | LTX_SUM_FLAG));
	r->done = true;
	return 0;
}

/* Everything behind the last page. */
static int
read_end(struct ltx_reader *r, struct err *e)
{
	uint32_t next = ltx_next_page(r->last, r->header.page_size);

	if (r->header.min_txid == 1 && next <= r->header.commit)
		return err_set(e, ERR_DAMAGED,
		    "%s: page %u is missing, the last one is page %u",
		    r->path, (unsigned)next, (unsigned)r->last);
	take(r, LTX_PAGE_HEADER_SIZE);
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
	if (fill(r, ltx_frame_max(r->header.page_size), e) != 0)
		return -1;
	if (unread(r) < LTX_PAGE_HEADER_SIZE)
		return cut_off(r, e);
	p->pgno = be32(r->buf + r->pos);
	flags = be16(r->buf + r->pos + 4);
	if (flags & ~LTX_PAGE_IS_BLOCK)
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
	if (flags & LTX_PAGE_IS_BLOCK)
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
	uint8_t b[LTX_SUM_SIZE];
	uint64_t size;
	ssize_t n;

	if (check_file(fd, path, &size, e) != 0)
		return -1;
	n = disk_pread(fd, b, sizeof(b), size - sizeof(b), path, e);
	if (n == -1)
		return -1;
	if (n < LTX_SUM_SIZE)
		return err_set(e, ERR_DAMAGED,
		    "%s: file was cut while it was read", path);
	*sum = be64(b);
	return 0;
}
