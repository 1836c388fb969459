/* SPDX-License-Identifier: ISC */
/*
 * Writing LTX files (ltx.c has the format).
 *
 * The writer puts zeros where the header belongs and overwrites them last, so
 * an unfinished file has no magic.  It combines the file checksum from that
 * of the header and that of the rest.  It keeps the index in memory, some ten
 * bytes per page.
 */
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "be.h"
#include "crc64.h"
#include "disk.h"
#include "ltx.h"
#include "ltx_format.h"

/* What an LZ4 frame has beside its blocks: headers, end mark, checksums. */
#define FRAME_EXTRA 64
#define WRITE_SIZE (256 * 1024)

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

size_t
ltx_frame_max(uint32_t page_size)
{
	return FRAME_EXTRA + (size_t)LZ4_compressBound((int)page_size);
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
	w->cap = WRITE_SIZE + ltx_frame_max(page_size);
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
	if (w->cap - w->n < ltx_frame_max(w->page_size))
		return flush(w, e);
	return 0;
}

/* The block stands in buf already, its header goes before it. */
static void
end_page(struct ltx_writer *w, uint32_t pgno, const uint8_t *data,
    size_t block_size)
{
	uint8_t *f = w->buf + w->n;
	size_t size = LTX_BLOCK_HEADER_SIZE + block_size;

	put_be32(f, pgno);
	put_be16(f + 4, LTX_PAGE_IS_BLOCK);
	put_be32(f + LTX_PAGE_HEADER_SIZE, (uint32_t)block_size);
	hash(w, f, LTX_BLOCK_HEADER_SIZE);
	hash(w, data, w->page_size);
	if (w->index_cap - w->index_size < LTX_INDEX_ENTRY_MAX) {
		w->index_cap *= 2;
		w->index = xrealloc(w->index, w->index_cap);
	}
	w->index_size += ltx_put_index_entry(w->index + w->index_size, pgno,
	    w->size, size);
	if (pgno != ltx_next_page(w->last, w->page_size))
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
	    (char *)w->buf + w->n + LTX_BLOCK_HEADER_SIZE, (int)w->page_size,
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
	memcpy(w->buf + w->n + LTX_BLOCK_HEADER_SIZE, p->block, p->block_size);
	end_page(w, p->pgno, p->data, p->block_size);
	return 0;
}

/* Do the header and the pages that were written belong together? */
static int
check_pages(const struct ltx_writer *w, const struct ltx_header *h,
    struct err *e)
{
	if (ltx_check_header(h, w->path, e) != 0)
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
	    ltx_next_page(w->last, w->page_size) <= h->commit))
		return err_set(e, ERR_DAMAGED, "%s: not all of %u pages in a "
		    "file that begins with transaction 1", w->path,
		    (unsigned)h->commit);
	return 0;
}

int
ltx_finish(struct ltx_writer *w, const struct ltx_header *h,
    uint64_t *file_checksum, uint64_t *size, struct err *e)
{
	uint8_t tail[LTX_INDEX_END_SIZE + LTX_TRAILER_SIZE] = {0};
	uint8_t head[LTX_HEADER_SIZE];
	struct ltx_header header = *h;
	uint64_t sum;

	header.flags = LTX_NO_CHECKSUM;
	header.pre_checksum = 0;
	if (check_pages(w, &header, e) != 0)
		return -1;
	ltx_put_header(head, &header);
	memset(w->buf + w->n, 0, LTX_PAGE_HEADER_SIZE);
	hash(w, w->buf + w->n, LTX_PAGE_HEADER_SIZE);
	w->n += LTX_PAGE_HEADER_SIZE;
	hash(w, w->index, w->index_size);
	put_be64(tail + 1, w->index_size + 1);
	hash(w, tail, sizeof(tail) - LTX_SUM_SIZE);
	sum = LTX_SUM_FLAG | crc64_combine(crc64(0, head, sizeof(head)), w->crc,
	    w->hashed);
	put_be64(tail + sizeof(tail) - LTX_SUM_SIZE, sum);
	if (flush(w, e) != 0 ||
	    disk_write(w->fd, w->index, w->index_size, w->path, e) != 0 ||
	    disk_write(w->fd, tail, sizeof(tail), w->path, e) != 0 ||
	    disk_pwrite(w->fd, head, sizeof(head), 0, w->path, e) != 0)
		return -1;
	*file_checksum = sum;
	*size = w->size + LTX_PAGE_HEADER_SIZE + w->index_size + sizeof(tail);
	return 0;
}
