/* SPDX-License-Identifier: ISC */
/*
 * SQLite's write-ahead log, as https://sqlite.org/walformat.html has it.
 *
 * The file is a header of 32 bytes and frames of 24 bytes and a page:
 *
 *	header	 0 magic 377f0682 or 377f0683	frame	 0 page number
 *		 4 version 3007000			 4 commit: pages in the
 *		 8 page size				   database, or 0
 *		12 checkpoint sequence			 8 salt 1, salt 2
 *		16 salt 1, salt 2			16 running checksum
 *		24 checksum of the above
 *
 * all big-endian.  A frame is valid if and only if its salts are those of the
 * header and its checksum is right, which runs from the header through the
 * first 8 bytes and the page of every frame; words of the checksummed bytes are
 * big-endian if the last bit of the magic is set, else little-endian.
 *
 * Valid is not committed: a writer that died after its commit frame leaves
 * valid frames that the next one overwrites.  Committed is what the wal-index
 * says, at the start of -shm (native byte order, two copies):
 *
 *	 0 version, unused, change		24 running checksum at mxFrame
 *	12 u8 initialised, u8 big-endian, 	32 salts (as in the file)
 *	   u16 page size (1 is 65536)		40 checksum of the above
 *	16 mxFrame, database size		48 the second copy
 *						96 frames copied back, 128 those
 *						   that a checkpoint is at
 *
 * Frames up to an mxFrame that was read before them do not change while a read
 * transaction pins them.
 */
#include <stdlib.h>
#include <string.h>

#include "be.h"
#include "disk.h"
#include "wal.h"

#define MAGIC 0x377f0682u
#define VERSION 3007000u
#define INDEX_SUM_OFFSET 40
#define INDEX_BACKFILL 96
#define INDEX_ATTEMPTED 128
#define BUFFER_MIN 65536u

struct wal {
	int fd;
	const char *path;
	uint32_t page_size, frame_size;
	bool big;		/* byte order of checksummed words */
	struct wal_pos at;
	uint8_t *buf;		/* whole frames, from frame first (0-based) */
	uint32_t cap, first, have;
};

static uint32_t
native32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

bool
wal_index_parse(const uint8_t *shm, struct wal_index *x)
{
	uint32_t a = 0, b = 0;
	uint16_t size;
	int i;

	if (memcmp(shm, shm + WAL_INDEX_COPY_SIZE, WAL_INDEX_COPY_SIZE) != 0 ||
	    native32(shm) != VERSION || shm[12] == 0)
		return false;
	for (i = 0; i < INDEX_SUM_OFFSET; i += 8) {
		a += native32(shm + i) + b;
		b += native32(shm + i + 4) + a;
	}
	if (a != native32(shm + 40) || b != native32(shm + 44))
		return false;
	x->change = native32(shm + 8);
	memcpy(&size, shm + 14, sizeof size);
	x->page_size = (size & 0xfe00u) + ((size & 1u) << 16);
	x->mx_frame = native32(shm + 16);
	x->commit = native32(shm + 20);
	x->cksum1 = native32(shm + 24);
	x->cksum2 = native32(shm + 28);
	x->salt1 = be32(shm + 32);
	x->salt2 = be32(shm + 36);
	x->backfill = native32(shm + INDEX_BACKFILL);
	x->attempted = native32(shm + INDEX_ATTEMPTED);
	return true;
}

static void
sum(bool big, const uint8_t *p, size_t n, uint32_t *s1, uint32_t *s2)
{
	uint32_t a = *s1, b = *s2;
	size_t i;

	if (big)
		for (i = 0; i < n; i += 8) {
			a += be32(p + i) + b;
			b += be32(p + i + 4) + a;
		}
	else
		for (i = 0; i < n; i += 8) {
			a += le32(p + i) + b;
			b += le32(p + i + 4) + a;
		}
	*s1 = a;
	*s2 = b;
}

struct wal *
wal_new(int fd, const char *path, uint32_t page_size)
{
	struct wal *w = xcalloc(1, sizeof *w);

	w->fd = fd;
	w->path = path;
	w->page_size = page_size;
	w->frame_size = WAL_FRAME_HEADER_SIZE + page_size;
	w->cap = BUFFER_MIN / w->frame_size + 1;
	w->buf = xmalloc((size_t)w->cap * w->frame_size);
	return w;
}

void
wal_free(struct wal *w)
{
	if (w != NULL)
		free(w->buf);
	free(w);
}

int
wal_seek(struct wal *w, uint32_t salt1, uint32_t salt2,
    const struct wal_pos *from, struct err *e)
{
	uint8_t h[WAL_HEADER_SIZE];
	uint32_t a = 0, b = 0;
	ssize_t k;

	w->have = 0;
	k = disk_pread(w->fd, h, sizeof h, 0, w->path, e);
	if (k != (ssize_t)sizeof h)
		return k < 0 ? -1 : 0;
	if ((be32(h) & ~1u) != MAGIC || be32(h + 4) != VERSION ||
	    be32(h + 8) != w->page_size)
		return 0;
	w->big = be32(h) & 1u;
	sum(w->big, h, 24, &a, &b);
	if (a != be32(h + 24) || b != be32(h + 28) ||
	    be32(h + 16) != salt1 || be32(h + 20) != salt2)
		return 0;
	if (from != NULL && from->frames > 0 && from->salt1 == salt1 &&
	    from->salt2 == salt2) {
		w->at = *from;
		return 1;
	}
	w->at.salt1 = salt1;
	w->at.salt2 = salt2;
	w->at.frames = 0;
	w->at.cksum1 = a;
	w->at.cksum2 = b;
	return 1;
}

void
wal_resume(struct wal *w, const struct wal_pos *from)
{
	w->at = *from;
	w->have = 0;
}

int
wal_holds(struct wal *w, const struct wal_pos *at, struct err *e)
{
	uint8_t h[WAL_FRAME_HEADER_SIZE];
	ssize_t k;

	if (at->frames == 0)
		return 0;
	k = disk_pread(w->fd, h, sizeof h,
	    wal_size(at->frames - 1, w->page_size), w->path, e);
	if (k != (ssize_t)sizeof h)
		return k < 0 ? -1 : 0;
	return be32(h + 8) == at->salt1 && be32(h + 12) == at->salt2 &&
	    be32(h + 16) == at->cksum1 && be32(h + 20) == at->cksum2;
}

/* The next frame's bytes in the buffer; NULL with *rc 0 or -1. */
static const uint8_t *
fetch(struct wal *w, int *rc, struct err *e)
{
	uint32_t n = w->at.frames;
	ssize_t k;

	if (n < w->first || n - w->first >= w->have) {
		k = disk_pread(w->fd, w->buf,
		    (size_t)w->cap * w->frame_size,
		    wal_size(n, w->page_size), w->path, e);
		w->first = n;
		w->have = k < 0 ? 0 : (uint32_t)k / w->frame_size;
		if (w->have == 0) {
			*rc = k < 0 ? -1 : 0;
			return NULL;
		}
	}
	return w->buf + (size_t)(n - w->first) * w->frame_size;
}

int
wal_next(struct wal *w, struct wal_frame *f, struct err *e)
{
	uint32_t a = w->at.cksum1, b = w->at.cksum2;
	const uint8_t *p;
	int rc = 0;

	if ((p = fetch(w, &rc, e)) == NULL)
		return rc;
	if (be32(p) == 0 || be32(p + 8) != w->at.salt1 ||
	    be32(p + 12) != w->at.salt2)
		return 0;
	sum(w->big, p, 8, &a, &b);
	sum(w->big, p + WAL_FRAME_HEADER_SIZE, w->page_size, &a, &b);
	if (a != be32(p + 16) || b != be32(p + 20))
		return 0;
	w->at.cksum1 = a;
	w->at.cksum2 = b;
	w->at.frames++;
	f->pgno = be32(p);
	f->commit = be32(p + 4);
	f->data = p + WAL_FRAME_HEADER_SIZE;
	return 1;
}

void
wal_tell(const struct wal *w, struct wal_pos *p)
{
	*p = w->at;
}

int
wal_read_page(struct wal *w, const struct wal_pos *gen,
    const struct wal_map_entry *f, uint8_t *page, struct err *e)
{
	const uint8_t *h = w->buf;
	ssize_t k;

	w->have = 0;
	k = disk_pread(w->fd, w->buf, w->frame_size,
	    wal_size(f->frame - 1, w->page_size), w->path, e);
	if (k < 0)
		return -1;
	if ((uint32_t)k != w->frame_size || be32(h) != f->pgno ||
	    be32(h + 8) != gen->salt1 || be32(h + 12) != gen->salt2)
		return err_set(e, ERR_DAMAGED, "%s: frame %lu: was "
		    "overwritten", w->path, (unsigned long)f->frame);
	memcpy(page, h + WAL_FRAME_HEADER_SIZE, w->page_size);
	return 0;
}

void
wal_map_add(struct wal_map *m, uint32_t pgno, uint32_t frame)
{
	m->entry = xgrow(m->entry, m->n, &m->cap, sizeof *m->entry);
	m->entry[m->n].pgno = pgno;
	m->entry[m->n++].frame = frame;
}

static int
by_page(const void *a, const void *b)
{
	const struct wal_map_entry *x = a, *y = b;

	if (x->pgno != y->pgno)
		return x->pgno < y->pgno ? -1 : 1;
	return (x->frame < y->frame) - (x->frame > y->frame);
}

void
wal_map_reduce(struct wal_map *m, uint32_t commit)
{
	size_t i, n = 0;

	if (m->n > 0)
		qsort(m->entry, m->n, sizeof *m->entry, by_page);
	for (i = 0; i < m->n; i++)
		if (m->entry[i].pgno <= commit && (n == 0 ||
		    m->entry[n - 1].pgno != m->entry[i].pgno))
			m->entry[n++] = m->entry[i];
	m->n = n;
}

uint32_t
wal_map_largest(const struct wal_map *m)
{
	uint32_t max = 0;
	size_t i;

	for (i = 0; i < m->n; i++)
		if (m->entry[i].pgno > max)
			max = m->entry[i].pgno;
	return max;
}

void
wal_map_free(struct wal_map *m)
{
	free(m->entry);
	memset(m, 0, sizeof *m);
}

uint64_t
wal_size(uint32_t n, uint32_t page_size)
{
	return WAL_HEADER_SIZE +
	    (uint64_t)n * (WAL_FRAME_HEADER_SIZE + page_size);
}
