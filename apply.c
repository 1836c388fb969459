/* SPDX-License-Identifier: ISC */
/*
 * A chain of replica files, applied to a standby in one change.
 *
 * The files are opened before anything else, so that retention may unlink them
 * meanwhile, and read twice, newest first as in restore: a page counts
 * if no newer file has it and it is within the commit sizes from its file on.
 * The first pass touches nothing: it reads every file to its proven end, has
 * the old form of all pages that differ saved in the journal, and knows the
 * fingerprint of the result.  The second pass writes.  A file that reads
 * differently then (a failing disk) makes the whole change roll back.
 *
 * The result is a state of the source if and only if: the standby is at the
 * TXID that the chain continues; all files are proven; every page past the
 * smallest commit size (the standby's and all files') comes from the chain.
 * What can be known beyond that is compared with the post-fingerprint of the
 * newest file: XOR of the parts of all pages, so the part of each old page is
 * taken out and that of the new one put in.  Page 1 is kept apart from the
 * rest, since the standby's is stamped (standby.h).  After a restart, or where
 * the salt changes, the rest is taken from the next file that has page 1 and
 * proven from then on.
 *
 * Readers compare bytes 24..39 of page 1 to see that something changed, so page
 * 1 is written with each change.  Its counter is a hash of TXID, salt and
 * fingerprint: it changes with each state, becomes durable in the same
 * instant as the pages, and another writer, who adds one, cannot produce it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply.h"
#include "ltx.h"

#define MIN_PAGE_BYTES 16	/* no page takes less in a file */

struct change {
	struct apply *a;
	const struct store_file *file;
	size_t n;
	bool whole;
	int *fd;
	struct standby_state old;
	struct ltx_header h;	/* of the newest file */
	bool writing;		/* the second pass */
	uint32_t lim, floor;	/* smallest commit so far; with the old one */
	uint32_t done;		/* pages that the chain gives */
	uint8_t *have, *differs;	/* a bit for each page */
	uint64_t all, delta;	/* XOR of the new parts; of old and new */
	uint8_t *page, *page1;	/* an old page; the new page 1, unstamped */
	bool has_page1;
};

static bool
bit(const uint8_t *map, uint32_t pgno)
{
	return (map[(pgno - 1) / 8] >> (pgno - 1) % 8 & 1) != 0;
}

static void
set_bit(uint8_t *map, uint32_t pgno)
{
	uint32_t i = pgno - 1;

	map[i / 8] = (uint8_t)(map[i / 8] | 1u << i % 8);
}

uint32_t
apply_counter(const struct ltx_header *h)
{
	uint64_t x = h->max_txid * UINT64_C(0x9e3779b97f4a7c15);

	if (h->salt != 0)
		x ^= h->post_fingerprint ^ (uint64_t)h->salt << 32;
	else
		x ^= (uint64_t)h->timestamp_ms << 20 ^ h->commit;
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(x ^ x >> 32);
}

static bool
same_size(const struct change *c)
{
	return c->old.page_size == c->h.page_size;
}

static uint64_t
part(const struct change *c, uint32_t pgno, const uint8_t *page)
{
	return ltx_page_hash(c->h.salt, pgno, page, c->h.page_size);
}

/* Whether old parts are worth computing. */
static bool
continues(const struct change *c)
{
	return !c->whole && same_size(c) && c->a->at.known &&
	    c->h.salt == c->a->at.salt;
}

/* Saves an old page, and takes its part out. */
static int
save_old(struct change *c, uint32_t pgno, struct err *e)
{
	if (pgno == ltx_lock_page(c->old.page_size))
		return 0;
	if (standby_read(c->a->db, pgno, c->page, e) != 0)
		return -1;
	if (pgno > 1 && continues(c))
		c->delta ^= part(c, pgno, c->page);
	return standby_save(c->a->db, pgno, c->page, e);
}

/* A page of the chain, in the first pass. */
static int
examine_page(struct change *c, const struct ltx_page *p, struct err *e)
{
	uint64_t x = c->h.salt != 0 ? part(c, p->pgno, p->data) : 0;

	if (p->pgno == 1) {
		memcpy(c->page1, p->data, c->h.page_size);
		c->has_page1 = true;
		return 0;	/* saved and written in any case */
	}
	c->all ^= x;
	if (same_size(c) && p->pgno <= c->old.pages) {
		if (standby_read(c->a->db, p->pgno, c->page, e) != 0)
			return -1;
		if (memcmp(c->page, p->data, c->h.page_size) == 0)
			return 0;
		if (continues(c))
			c->delta ^= part(c, p->pgno, c->page);
		if (standby_save(c->a->db, p->pgno, c->page, e) != 0)
			return -1;
	}
	c->delta ^= x;
	set_bit(c->differs, p->pgno);
	return 0;
}

static int
take_page(struct change *c, const struct ltx_page *p, struct err *e)
{
	set_bit(c->have, p->pgno);
	c->done++;
	if (!c->writing)
		return examine_page(c, p, e);
	if (!bit(c->differs, p->pgno))
		return 0;
	return standby_write(c->a->db, p->pgno, p->data, c->h.page_size, e);
}

/* The newest file's header says what will be. */
static int
begin_pass(struct change *c, const struct ltx_header *h, const char *path,
    struct err *e)
{
	uint64_t bytes = 0;
	size_t i, size;

	for (i = 0; i < c->n; i++)
		bytes += c->file[i].size;
	if (h->commit == 0 || h->commit > bytes / MIN_PAGE_BYTES + 1 +
	    (c->whole ? 0 : c->old.pages))
		return err_set(e, ERR_DAMAGED, "%s: %u pages do not fit into "
		    "the files there are", path, (unsigned)h->commit);
	if (c->writing && (h->page_size != c->h.page_size ||
	    h->commit != c->h.commit))
		return err_set(e, ERR_DAMAGED, "%s: has changed", path);
	c->h = *h;
	c->lim = c->floor = h->commit;
	if (!c->whole && same_size(c) && c->old.pages < c->floor)
		c->floor = c->old.pages;
	if (c->whole || !same_size(c))
		c->floor = 0;
	c->done = 0;
	free(c->have);
	c->have = xcalloc(h->commit / 8 + 1, 1);
	if (ltx_lock_page(h->page_size) <= h->commit) {
		set_bit(c->have, ltx_lock_page(h->page_size));
		c->done++;
	}
	if (c->writing)
		return 0;
	size = h->page_size > c->old.page_size ? h->page_size :
	    c->old.page_size;
	c->differs = xcalloc(h->commit / 8 + 1, 1);
	c->page = xmalloc(size);
	c->page1 = xmalloc(size);
	return 0;
}

/* Header against name, and whether the oldest file continues the standby. */
static int
check_header(struct change *c, size_t i, const struct ltx_header *h,
    const char *path, struct err *e)
{
	const struct store_file *f = &c->file[i];
	const struct apply_state *at = &c->a->at;

	if (h->min_txid != f->min_txid || h->max_txid != f->max_txid)
		return err_set(e, ERR_DAMAGED, "%s: header is not that of the "
		    "name", path);
	if (i + 1 == c->n && begin_pass(c, h, path, e) != 0)
		return -1;
	if (h->page_size != c->h.page_size)
		return err_set(e, ERR_DAMAGED, "%s: input files have "
		    "mismatched page sizes: %u != %u", path,
		    (unsigned)h->page_size, (unsigned)c->h.page_size);
	if (i > 0 || c->whole || h->min_txid == 1 || at->salt == 0 ||
	    h->salt == 0)
		return 0;
	if (h->salt != at->salt || (h->min_txid == at->txid + 1 &&
	    h->pre_fingerprint != 0 && h->pre_fingerprint != at->post))
		return err_set(e, ERR_FOREIGN, "%s: does not continue the "
		    "state of the standby", path);
	return 0;
}

static int
take_file(struct change *c, size_t i, struct err *e)
{
	char *path = store_path(c->a->root, &c->file[i]);
	struct ltx_reader *r = NULL;
	const struct ltx_header *h;
	struct ltx_page p;
	int rc = -1;

	if (ltx_open(&r, c->fd[i], path, e) != 0)
		goto out;
	h = ltx_header(r);
	if (check_header(c, i, h, path, e) != 0)
		goto out;
	if (h->commit < c->lim)
		c->lim = h->commit;
	if (c->lim < c->floor)
		c->floor = c->lim;
	while ((rc = ltx_next(r, &p, e)) == 1)
		if (p.pgno <= c->lim && !bit(c->have, p.pgno) &&
		    take_page(c, &p, e) != 0) {
			rc = -2;	/* not the file's fault */
			break;
		}
out:
	ltx_close(r);
	free(path);
	return rc;
}

/* All files, newest first, until nothing older can matter. */
static int
pass(struct change *c, size_t *bad, struct err *e)
{
	size_t i;
	int rc;

	for (i = c->n; i-- > 0;) {
		rc = take_file(c, i, e);
		if (rc != 0) {
			if (rc == -1 && e->kind == ERR_DAMAGED)
				*bad = i;
			return -1;
		}
		if (c->done == c->h.commit)
			break;
	}
	return 0;
}

static int
incomplete(const struct change *c, struct err *e)
{
	uint32_t pgno;

	for (pgno = c->floor; pgno < c->h.commit; pgno++)
		if (!bit(c->have, pgno + 1))
			return err_set(e, ERR_DAMAGED, "%s: page %u is missing "
			    "from the files up to %s", c->a->root,
			    (unsigned)pgno + 1, TXID(c->h.max_txid));
	return 0;
}

/* Whatever is overwritten or cut off without being a page of the chain. */
static int
save_others(struct change *c, struct err *e)
{
	uint32_t pgno = same_size(c) ? c->h.commit : 1;

	if (save_old(c, 1, e) != 0)
		return -1;
	if (!c->has_page1)
		memcpy(c->page1, c->page, c->h.page_size);
	for (; pgno < c->old.pages; pgno++)
		if (save_old(c, pgno + 1, e) != 0)
			return -1;
	return 0;
}

/* The fingerprint of the result, as far as it can be known: *to. */
static int
prove(struct change *c, struct apply_state *to, struct err *e)
{
	const struct apply_state *at = &c->a->at;
	bool all = c->done == c->h.commit;

	to->txid = c->h.max_txid;
	to->salt = c->h.salt;
	to->post = c->h.post_fingerprint;
	to->counter = apply_counter(&c->h);
	if (to->counter == c->old.counter)
		to->counter++;
	to->known = c->h.salt != 0;
	if (!to->known)
		return 0;
	to->page1 = c->has_page1 ? part(c, 1, c->page1) : at->page1;
	if (all)
		to->rest = c->all;
	else if (continues(c))
		to->rest = at->rest ^ c->delta;
	else {
		to->known = c->has_page1;
		to->rest = to->post ^ to->page1;
	}
	if (!to->known || (to->rest ^ to->page1) == to->post)
		return 0;
	if (all)
		return err_set(e, ERR_DAMAGED, "%s: the files up to %s do not "
		    "make the database that was backed up (fingerprint "
		    "mismatch)", c->a->root, TXID(to->txid));
	return err_set(e, ERR_FOREIGN, "fingerprint mismatch: the standby is "
	    "not what was restored up to %s", TXID(at->txid));
}

static int
write_all(struct change *c, const struct apply_state *to, size_t *bad,
    struct err *e)
{
	struct standby *db = c->a->db;

	c->writing = true;
	if (pass(c, bad, e) != 0)
		return -1;
	standby_stamp(c->page1, to->counter);
	if (standby_write(db, 1, c->page1, c->h.page_size, e) != 0)
		return -1;
	return standby_commit(db, c->h.commit, c->h.page_size, e);
}

static int
open_files(struct change *c, size_t *bad, struct err *e)
{
	size_t i;

	c->fd = xmalloc((c->n + 1) * sizeof *c->fd);
	for (i = 0; i < c->n; i++)
		c->fd[i] = -1;
	for (i = 0; i < c->n; i++)
		if ((c->fd[i] = store_open(c->a->root, &c->file[i], e)) < 0) {
			if (e->kind == ERR_DAMAGED)
				*bad = i;
			return -1;
		}
	return 0;
}

static int
change(struct change *c, struct apply_state *to, size_t *bad, struct err *e)
{
	struct apply *a = c->a;

	if (standby_begin(a->db, &c->old, e) != 0) {
		if (e->kind == ERR_ABSENT || e->kind == ERR_DAMAGED)
			e->kind = ERR_SYSTEM;
		return -1;
	}
	if (!c->whole && c->old.counter != a->at.counter)
		return err_set(e, ERR_FOREIGN, "the standby was written to by "
		    "another process");
	if (pass(c, bad, e) != 0 || incomplete(c, e) != 0 ||
	    save_others(c, e) != 0 || prove(c, to, e) != 0 ||
	    standby_arm(a->db, a->stop, e) != 0)
		return -1;
	return write_all(c, to, bad, e);
}

int
apply_files(struct apply *a, const struct store_file *file, size_t n,
    bool whole, size_t *bad, struct err *e)
{
	struct change c = { .a = a, .file = file, .n = n, .whole = whole };
	struct apply_state to = { 0 };
	struct err why;
	size_t i;
	int rc;

	*bad = n;
	rc = open_files(&c, bad, e);
	if (rc == 0)
		rc = change(&c, &to, bad, e);
	if (standby_end(a->db, &why) != 0 && rc == 0) {
		*e = why;
		rc = -1;
	}
	if (rc == 0)
		a->at = to;
	for (i = 0; i < n; i++)
		if (c.fd[i] >= 0)
			close(c.fd[i]);
	free(c.fd);
	free(c.have);
	free(c.differs);
	free(c.page);
	free(c.page1);
	return rc;
}
