/* SPDX-License-Identifier: ISC */
/*
 * The newest-wins merge of replica files.
 *
 * Inputs are chains: each continues the one before, oldest first.  All are read
 * in step, by page number; of the inputs that hold a page the newest gives it.
 * A page survives only if it is within the commit size of every later input:
 * otherwise the database was smaller in between, and the page has no content
 * that anyone may see.  If the database grew again, the input with which it did
 * holds all the pages that it grew by (FORMAT 6.5), so every page past the
 * smallest commit must come out; one that does not means a broken input, and
 * is an error here since nobody could tell later.
 *
 * Inputs of another page size than the last one's can only be superseded: the
 * first input of the new size must be a full image.  A full image among inputs
 * of one size needs no rule, as newest wins.
 *
 * Memory does not depend on the files but for the writer's index: at most
 * MAX_OPEN readers.  Of more inputs, groups are merged to temporaries first,
 * which have no name from the start and so need no cleaning up.  The first
 * input, usually the large one, is never copied that way.
 *
 * The output is published only after every input has been read to its proven
 * end (ltx.h).  It carries salt and fingerprint of the last input; a file that
 * claims to be the whole database is compared with that fingerprint.  A crash
 * leaves at most NAME.tmp.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ltx.h"
#include "merge.h"

#define MAX_OPEN 64
#define STAGE_TXID 2		/* a temporary need not be complete */

struct source {
	int fd;
	char *path;
	uint32_t floor;		/* smallest commit of what is in it */
	uint32_t lim;		/* smallest commit of what comes after */
	struct ltx_reader *r;
	struct ltx_page page;
	uint64_t pages;
	const atomic_bool *cancel;
	bool live;		/* page holds one */
};

struct merge {
	const char *root;
	const struct disk_owner *o;
	const struct store_file *in;
	size_t n;
	const atomic_bool *cancel;
	char *stage;		/* path of temporaries */
	int dir;		/* in which they are */
	const char *what;	/* path of the output, for messages */
	uint32_t salt;		/* of the fingerprint to take; or 0 */
	uint64_t fingerprint;
};

static int	merge_range(struct merge *m, size_t lo, size_t hi,
		    struct ltx_writer *w, uint32_t *floor, struct err *e);

static bool
same_header(const struct ltx_header *a, const struct ltx_header *b)
{
	return a->min_txid == b->min_txid && a->max_txid == b->max_txid &&
	    a->page_size == b->page_size && a->commit == b->commit &&
	    a->timestamp_ms == b->timestamp_ms && a->salt == b->salt &&
	    a->pre_fingerprint == b->pre_fingerprint &&
	    a->post_fingerprint == b->post_fingerprint;
}

/* How many pages there are in 1..commit. */
static uint64_t
pages_in(uint32_t commit, uint32_t page_size)
{
	return commit - (commit >= ltx_lock_page(page_size));
}

static void
source_close(struct source *s)
{
	ltx_close(s->r);
	if (s->fd >= 0)
		close(s->fd);
	free(s->path);
	memset(s, 0, sizeof(*s));
	s->fd = -1;
}

static int
source_next(struct source *s, struct err *e)
{
	int rc;

	if (s->cancel != NULL && atomic_load(s->cancel))
		return err_set(e, ERR_BUSY, "%s: interrupted", s->path);
	rc = ltx_next(s->r, &s->page, e);
	s->live = rc == 1;
	s->pages += s->live;
	return rc < 0 ? -1 : 0;
}

/* The source of an input file, not yet read. */
static int
source_file(const struct merge *m, size_t i, struct source *s, struct err *e)
{
	s->path = store_path(m->root, &m->in[i]);
	s->fd = store_open(m->root, &m->in[i], e);
	s->floor = m->in[i].h.commit;
	return s->fd < 0 ? -1 : 0;
}

/* Inputs lo to hi - 1, merged to a temporary. */
static int
source_stage(struct merge *m, size_t lo, size_t hi, struct source *s,
    struct err *e)
{
	struct ltx_header h = m->in[hi - 1].h;
	uint32_t salt = m->salt;
	struct ltx_writer *w = NULL;
	uint64_t sum, size;
	int rc = -1;

	s->path = xstrdup(m->stage);
	s->fd = disk_create_in(m->dir, path_base(s->path), m->o, s->path, e);
	if (s->fd < 0 ||
	    disk_unlink_in(m->dir, path_base(s->path), s->path, e) != 0 ||
	    ltx_create(&w, s->fd, s->path, h.page_size, e) != 0)
		return -1;
	h.min_txid = h.max_txid = STAGE_TXID;
	h.wal_offset = h.wal_size = 0;
	h.wal_salt1 = h.wal_salt2 = 0;
	m->salt = 0;
	if (merge_range(m, lo, hi, w, &s->floor, e) == 0)
		rc = ltx_finish(w, &h, &sum, &size, e);
	m->salt = salt;
	ltx_free(w);
	return rc;
}

/* Begins to read; f is the input, or NULL for a temporary. */
static int
source_start(struct source *s, const struct store_file *f, struct err *e)
{
	if (ltx_open(&s->r, s->fd, s->path, e) != 0)
		return -1;
	if (f != NULL && !same_header(ltx_header(s->r), &f->h))
		return err_set(e, ERR_DAMAGED,
		    "%s: header is not the one that was listed", s->path);
	return source_next(s, e);
}

/* The newest of the sources that hold the lowest page, or NULL at the end. */
static struct source *
lowest(struct source *s, size_t n)
{
	struct source *best = NULL;
	size_t i;

	for (i = 0; i < n; i++)
		if (s[i].live && (best == NULL ||
		    s[i].page.pgno <= best->page.pgno))
			best = &s[i];
	return best;
}

/* Past this page, wherever it is. */
static int
skip(struct source *s, size_t n, uint32_t pgno, struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (s[i].live && s[i].page.pgno == pgno &&
		    source_next(&s[i], e) != 0)
			return -1;
	return 0;
}

/* The started sources, all of one page size, in step. */
static int
merge_sources(struct merge *m, struct source *s, size_t n,
    struct ltx_writer *w, uint32_t *floor, struct err *e)
{
	uint32_t page_size = ltx_header(s[n - 1].r)->page_size;
	uint32_t commit = ltx_header(s[n - 1].r)->commit, pgno;
	uint64_t grown = 0;
	struct source *best;
	size_t i;

	*floor = UINT32_MAX;
	for (i = n; i-- > 0;) {
		s[i].lim = *floor;
		if (s[i].floor < *floor)
			*floor = s[i].floor;
	}
	while ((best = lowest(s, n)) != NULL) {
		pgno = best->page.pgno;
		if (pgno <= best->lim) {
			if (ltx_write_block(w, &best->page, e) != 0)
				return -1;
			grown += pgno > *floor;
			if (m->salt != 0)
				m->fingerprint ^= ltx_page_hash(m->salt, pgno,
				    best->page.data, page_size);
		}
		if (skip(s, n, pgno, e) != 0)
			return -1;
	}
	if (grown != pages_in(commit, page_size) -
	    pages_in(*floor, page_size))
		return err_set(e, ERR_DAMAGED, "%s: cannot be made: its "
		    "sources lack pages by which the database grew", m->what);
	return 0;
}

/* How many inputs a group takes, so that all fit into MAX_OPEN sources. */
static size_t
group_size(size_t n)
{
	size_t size = MAX_OPEN;

	while ((MAX_OPEN - 1) * (size - 1) < n - MAX_OPEN)
		size *= MAX_OPEN;
	return size;
}

/*
 * The sources of inputs lo to hi - 1: as many as may be open.  The first input
 * is one by itself; groups follow until the rest can be one each.  *f is
 * where each comes from.
 */
static int
gather(struct merge *m, size_t lo, size_t hi, struct source *s,
    const struct store_file **f, size_t *n, struct err *e)
{
	size_t excess = hi - lo > MAX_OPEN ? hi - lo - MAX_OPEN : 0;
	size_t i = lo, k, most = excess > 0 ? group_size(hi - lo) : 0;

	for (*n = 0; i < hi; i += k, (*n)++) {
		s[*n] = (struct source){ .fd = -1, .cancel = m->cancel };
		k = 1;
		if (*n > 0 && excess > 0) {
			k = excess + 1 < most ? excess + 1 : most;
			excess -= k - 1;
		}
		f[*n] = k == 1 ? &m->in[i] : NULL;
		if ((k == 1 ? source_file(m, i, &s[*n], e) :
		    source_stage(m, i, i + k, &s[*n], e)) != 0) {
			(*n)++;
			return -1;
		}
	}
	return 0;
}

static int
merge_range(struct merge *m, size_t lo, size_t hi, struct ltx_writer *w,
    uint32_t *floor, struct err *e)
{
	const struct store_file *f[MAX_OPEN];
	struct source s[MAX_OPEN];
	size_t i, n = 0;
	int rc;

	rc = gather(m, lo, hi, s, f, &n, e);
	for (i = 0; rc == 0 && i < n; i++)
		rc = source_start(&s[i], f[i], e);
	if (rc == 0)
		rc = merge_sources(m, s, n, w, floor, e);
	for (i = 0; i < n; i++)
		source_close(&s[i]);
	return rc;
}

/* Reads to the end; *pages is how many there are. */
static int
check(const char *root, const struct store_file *f,
    const atomic_bool *cancel, uint64_t *pages, struct err *e)
{
	struct merge m = { .root = root, .in = f, .n = 1 };
	struct source s = { .fd = -1, .cancel = cancel };
	bool known = f->min_txid == 1 && f->h.salt != 0;
	uint64_t fingerprint = 0;
	int rc;

	rc = source_file(&m, 0, &s, e);
	if (rc == 0)
		rc = source_start(&s, f, e);
	while (rc == 0 && s.live) {
		if (known)
			fingerprint ^= ltx_page_hash(f->h.salt, s.page.pgno,
			    s.page.data, f->h.page_size);
		rc = source_next(&s, e);
	}
	*pages = s.pages;
	if (rc == 0 && known && fingerprint != f->h.post_fingerprint)
		rc = err_set(e, ERR_DAMAGED, "%s: fingerprint mismatch",
		    s.path);
	source_close(&s);
	return rc;
}

int
merge_check(const char *root, const struct store_file *f,
    const atomic_bool *cancel, struct err *e)
{
	uint64_t pages;

	return check(root, f, cancel, &pages, e);
}

/* Whether b may follow a. */
static int
check_link(const struct merge *m, const struct store_file *a,
    const struct store_file *b, struct err *e)
{
	char *path;

	if (b->min_txid > a->max_txid + 1 || b->max_txid <= a->max_txid)
		return err_set(e, ERR_DAMAGED, "%s: non-contiguous transaction "
		    "ids in input files: (%s,%s) -> (%s,%s)", m->what,
		    TXID(a->min_txid), TXID(a->max_txid), TXID(b->min_txid),
		    TXID(b->max_txid));
	if (!store_contradicts(a, b))
		return 0;
	path = store_path(m->root, b);
	err_set(e, ERR_DAMAGED, "%s: does not continue the state in which "
	    "TXID %s ended", path, TXID(a->max_txid));
	free(path);
	return -1;
}

/*
 * Where to begin: 0, or the full image with which the page size became the
 * last input's.  Inputs before it are verified here.
 */
static int
first_input(const struct merge *m, size_t *first, struct err *e)
{
	const struct store_file *f;
	uint64_t pages;
	size_t i;

	for (i = m->n - 1; i > 0 && m->in[i - 1].h.page_size ==
	    m->in[i].h.page_size; i--)
		;
	*first = i;
	if (i == 0)
		return 0;
	f = &m->in[i];
	if (check(m->root, f, m->cancel, &pages, e) != 0)
		return -1;
	if (pages != pages_in(f->h.commit, f->h.page_size))
		return err_set(e, ERR_DAMAGED, "%s: input files have "
		    "mismatched page sizes: %u != %u", m->what,
		    (unsigned)m->in[i - 1].h.page_size,
		    (unsigned)f->h.page_size);
	for (i = 0; i < *first; i++)
		if (merge_check(m->root, &m->in[i], m->cancel, e) != 0)
			return -1;
	return 0;
}

static void
out_header(const struct merge *m, uint64_t min_txid, struct ltx_header *h)
{
	const struct ltx_header *a = &m->in[0].h, *z = &m->in[m->n - 1].h;

	memset(h, 0, sizeof(*h));
	h->page_size = z->page_size;
	h->commit = z->commit;
	h->min_txid = min_txid;
	h->max_txid = z->max_txid;
	h->timestamp_ms = z->timestamp_ms;
	h->flags = LTX_NO_CHECKSUM;
	h->salt = z->salt;
	if (z->salt == 0)
		return;
	h->post_fingerprint = z->post_fingerprint;
	if (min_txid > 1 && a->min_txid == min_txid && a->salt == z->salt)
		h->pre_fingerprint = a->pre_fingerprint;
}

static int
write_merged(struct merge *m, struct store_new *f, const struct ltx_header *h,
    uint64_t *size, struct err *e)
{
	struct ltx_writer *w = NULL;
	uint64_t sum;
	uint32_t floor;
	size_t first;
	int rc = -1;

	if (first_input(m, &first, e) != 0 ||
	    ltx_create(&w, f->fd, f->tmp, h->page_size, e) != 0)
		return -1;
	m->salt = h->min_txid == 1 ? h->salt : 0;
	if (merge_range(m, first, m->n, w, &floor, e) != 0 ||
	    ltx_finish(w, h, &sum, size, e) != 0)
		goto out;
	if (m->salt != 0 && m->fingerprint != h->post_fingerprint) {
		err_set(e, ERR_DAMAGED, "%s: cannot be made: fingerprint "
		    "mismatch", m->what);
		goto out;
	}
	rc = 0;
out:
	ltx_free(w);
	return rc;
}

/* One input under its own range. */
static int
take_over(const char *root, const struct store_file *in, int level,
    const struct disk_owner *o, const atomic_bool *cancel,
    struct store_file *out, struct err *e)
{
	*out = *in;
	out->level = level;
	if (merge_check(root, in, cancel, e) != 0)
		return -1;
	return store_link(root, in, out, o, e);
}

int
merge_files(const char *root, const struct store_file *in, size_t n,
    int level, uint64_t min_txid, const struct disk_owner *o,
    const atomic_bool *cancel, struct store_file *out, struct err *e)
{
	struct merge m = { .root = root, .o = o, .in = in, .n = n,
	    .cancel = cancel };
	struct ltx_header h;
	struct store_new f;
	bool renamed;
	size_t i;
	int rc = -1;

	if (n == 1 && in[0].min_txid == min_txid)
		return take_over(root, in, level, o, cancel, out, e);
	out_header(&m, min_txid, &h);
	if (store_begin(&f, root, level, min_txid, h.max_txid, o, e) != 0)
		goto out;
	m.what = f.path;
	m.dir = f.dir;
	m.stage = xasprintf("%s/ltx/%d/stage.tmp", root, level);
	for (i = 1; i < n; i++)
		if (check_link(&m, &in[i - 1], &in[i], e) != 0)
			goto out;
	memset(out, 0, sizeof(*out));
	if (write_merged(&m, &f, &h, &out->size, e) != 0)
		goto out;
	out->level = level;
	out->min_txid = h.min_txid;
	out->max_txid = h.max_txid;
	out->mtime_ms = h.timestamp_ms;
	out->h = h;
	rc = store_publish(&f, h.timestamp_ms, &renamed, e);
out:
	store_end(&f);
	free(m.stage);
	return rc;
}
