/* SPDX-License-Identifier: ISC */
/*
 * Capture: from WAL or database to level 0.
 *
 * The position is (salts, frames consumed, running checksum).  What lies
 * between it and the mxFrame of the index is committed and not yet published;
 * a pass turns it into files, one for each 64 MiB, each ending at a commit.
 * Invariants:
 *
 *  - Before a pin begins, everything up to the mark of the one that is held
 *    is consumed; before the older of two ends, everything that the index
 *    showed after the younger began.  So nobody can drop or overwrite a frame
 *    that is not consumed, and the database file never holds a page newer than
 *    what is.
 *  - A file holds every page of (smallest size since the last file, commit]
 *    but the lock page: one that is not among the frames is read from the
 *    database file.
 *  - The table and its position advance only after the file is published
 *    (emit.c).
 *
 * A crash leaves files up to some TXID and a table at that TXID or before; the
 * next start rolls the table forward (resume.c).
 */
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "ltx.h"
#include "wal.h"

#define BATCH_BYTES (64u << 20)
#define TAIL_BYTES (1u << 20)
#define INDEX_TRIES 50		/* looks at a moving or torn index */

/* What a file is made of: frames of the WAL up to a commit. */
struct batch {
	struct wal_map map;
	uint32_t commit;
	uint32_t least;		/* smallest size on the way, 0: none seen */
	struct wal_pos end;
};

/* A batch whose pages are in memory, one behind the other. */
struct capture_tail {
	struct batch batch;
	uint8_t *bytes;
};

static uint32_t
page_size(const struct capture *c)
{
	return c->em.pages->page_size;
}

bool
capture_has_all(const struct capture *c, const struct wal_index *x)
{
	return x->mx_frame == 0 || (c->pos.salt1 == x->salt1 &&
	    c->pos.salt2 == x->salt2 && c->pos.frames == x->mx_frame);
}

static void
free_tail(struct capture_tail *t)
{
	wal_map_free(&t->batch.map);
	free(t->bytes);
	free(t);
}

void
capture_give_up(struct capture *c, const char *reason)
{
	if (c->tail != NULL) {
		free_tail(c->tail);
		c->tail = NULL;
	}
	if (!c->doubt)
		c->reason = reason;
	c->doubt = true;
}

/* What the frames say is not what the index says. */
static int
doubt(struct capture *c)
{
	capture_give_up(c, "wal and index disagree");
	return 0;
}

/* frame 0: the page is to be read from the database file. */
static void
add(struct batch *b, const struct wal_frame *f, uint32_t frame)
{
	wal_map_add(&b->map, f->pgno, frame);
	if (f->commit != 0 && (b->least == 0 || f->commit < b->least))
		b->least = f->commit;
}

/*
 * Reads frames after the position up to x's mxFrame, or to the first commit
 * past 64 MiB; the caller reduces them.  1; 0 if WAL and index disagree; -1.
 */
static int
read_batch(struct capture *c, const struct wal_index *x, struct wal **w,
    struct batch *b, struct err *e)
{
	struct wal_frame f = { 0, 0, NULL };
	struct wal_pos at;
	uint64_t bytes = 0;
	int rc;

	if ((rc = db_wal(c->db, w, e)) != 1)
		return rc;
	if ((rc = wal_seek(*w, x->salt1, x->salt2, &c->pos, e)) != 1)
		return rc;
	wal_tell(*w, &at);
	if (at.frames > x->mx_frame)
		return 0;
	while (at.frames < x->mx_frame) {
		if ((rc = wal_next(*w, &f, e)) != 1)
			return rc;
		add(b, &f, ++at.frames);
		bytes += page_size(c);
		if (f.commit != 0 && bytes >= BATCH_BYTES)
			break;
	}
	wal_tell(*w, &b->end);
	b->commit = f.commit;
	return f.commit != 0 && (at.frames < x->mx_frame ||
	    (f.commit == x->commit && b->end.cksum1 == x->cksum1 &&
	    b->end.cksum2 == x->cksum2));
}

/*
 * Reduces the map and adds, as frame 0, the pages of (smallest size since the
 * table's, commit] that are not among the frames: they are to be read from the
 * database file.  1; 0 if they could also be in frames before the position
 * (SQLite has not been seen to do that): compare; -1.
 */
static int
complete(struct capture *c, struct batch *b, struct err *e)
{
	uint32_t grown = (b->least != 0 && b->least < c->em.pages->commit ?
	    b->least : c->em.pages->commit) + 1;
	uint32_t lock = ltx_lock_page(page_size(c)), pgno;
	size_t i, n;

	if (db_check_size(c->db, b->commit, c->em.pages->commit, &b->map,
	    e) != 0)
		return -1;
	wal_map_reduce(&b->map, b->commit);
	n = b->map.n;
	for (i = 0; i < n; i++) {
		pgno = b->map.entry[i].pgno;
		for (; grown < pgno; grown++)
			if (grown != lock)
				wal_map_add(&b->map, grown, 0);
		if (grown == pgno)
			grown++;
	}
	for (; grown <= b->commit; grown++)
		if (grown != lock)
			wal_map_add(&b->map, grown, 0);
	if (b->map.n > n && c->pos.frames > 0 &&
	    b->end.salt1 == c->pos.salt1 && b->end.salt2 == c->pos.salt2)
		return 0;
	if (b->map.n > n)
		wal_map_reduce(&b->map, b->commit);
	return 1;
}

static int
read_entry(struct capture *c, struct wal *w, const struct batch *b, size_t i,
    uint8_t *page, struct err *e)
{
	const struct wal_map_entry *f = &b->map.entry[i];

	return f->frame != 0 ? wal_read_page(w, &b->end, f, page, e) :
	    db_read_page(c->db, f->pgno, page, e);
}

/* Publishes a complete batch; its pages are in bytes, or else in w. */
static int
publish_batch(struct capture *c, const struct batch *b, struct wal *w,
    uint8_t *bytes, struct err *e)
{
	uint8_t *one = xmalloc(page_size(c)), *page = one;
	struct emit_file f;
	size_t i;
	int rc = 0;

	emit_init(&f, &c->em);
	for (i = 0; rc == 0 && i < b->map.n; i++) {
		if (bytes != NULL)
			page = bytes + i * page_size(c);
		else
			rc = read_entry(c, w, b, i, page, e);
		if (rc == 0)
			rc = emit_page(&f, b->map.entry[i].pgno, page, e);
	}
	if (rc == 0)
		rc = emit_publish(&f, b->commit, e);
	if (rc == 0)
		c->em.pages->wal = b->end;
	emit_free(&f);
	free(one);
	return rc;
}

static int
publish_tail(struct capture *c, struct err *e)
{
	struct capture_tail *t = c->tail;

	if (t == NULL)
		return 0;
	if (publish_batch(c, &t->batch, NULL, t->bytes, e) != 0)
		return -1;
	free_tail(t);
	c->tail = NULL;
	return 0;
}

/* One file from the WAL.  1: position moved; 0: look at the index again. */
static int
append_batch(struct capture *c, const struct wal_index *x, struct err *e)
{
	struct batch b;
	struct wal *w;
	int rc;

	memset(&b, 0, sizeof b);
	rc = read_batch(c, x, &w, &b, e);
	if (rc == 1)
		rc = complete(c, &b, e);
	if (rc == 1)
		rc = publish_batch(c, &b, w, NULL, e) == 0 ? 1 : -1;
	if (rc == 1)
		c->pos = b.end;
	wal_map_free(&b.map);
	return rc;
}

/* Whether index x is what it was when *before was read. */
static bool
unmoved(const struct wal_index *x, const struct wal_index *before)
{
	return x->change == before->change && x->salt1 == before->salt1 &&
	    x->salt2 == before->salt2 && x->mx_frame == before->mx_frame;
}

/*
 * Publishes everything up to the mxFrame of the index as it is now.  1; 0 if
 * the index could not be read (pin anew); -1.  May set doubt.
 */
static int
append(struct capture *c, bool *found, struct err *e)
{
	struct wal_index x, before;
	int rc, tries;

	memset(&before, 0, sizeof before);
	if (publish_tail(c, e) != 0)
		return -1;
	for (tries = 0; tries < INDEX_TRIES; tries++) {
		if ((rc = db_index(c->db, &x, e)) != 1)
			return rc;
		if (x.mx_frame == 0 && c->pos.frames > 0 &&
		    (c->pos.salt1 != x.salt1 || c->pos.salt2 != x.salt2)) {
			/* A new generation without frames yet. */
			memset(&c->pos, 0, sizeof c->pos);
			c->pos.salt1 = x.salt1;
			c->pos.salt2 = x.salt2;
			c->em.pages->wal = c->pos;
		}
		if (capture_has_all(c, &x))
			return 1;
		*found = true;
		while ((rc = append_batch(c, &x, e)) == 1)
			if (capture_has_all(c, &x))
				return 1;
		if (rc < 0)
			return -1;
		if (unmoved(&x, &before))
			break;
		before = x;
	}
	doubt(c);
	return 1;
}

/* The pages of all frames that are left behind the position: what may have
 * changed in its generation. */
static int
read_leftover(struct capture *c, struct wal *w, struct batch *b,
    struct err *e)
{
	struct wal_frame f;
	int rc;

	wal_resume(w, &c->pos);
	while ((rc = wal_next(w, &f, e)) == 1)
		add(b, &f, 0);
	return rc < 0 ? -1 : wal_holds(w, &c->pos, e);
}

/* The frames of the generation that began since. */
static int
read_generation(struct capture *c, struct wal *w, const struct wal_index *x,
    struct batch *b, struct err *e)
{
	struct wal_frame f = { 0, 0, NULL };
	uint32_t i;
	int rc = 1;

	memset(&b->end, 0, sizeof b->end);
	b->end.salt1 = x->salt1;
	b->end.salt2 = x->salt2;
	if (x->mx_frame == 0)
		return db_file_pages(c->db, &b->commit, e) == 0 ? 1 : -1;
	if ((rc = wal_seek(w, x->salt1, x->salt2, NULL, e)) != 1)
		return rc;
	for (i = 1; i <= x->mx_frame; i++) {
		if ((rc = wal_next(w, &f, e)) != 1)
			return rc;
		add(b, &f, i);
	}
	wal_tell(w, &b->end);
	b->commit = x->commit;
	return b->end.cksum1 == x->cksum1 && b->end.cksum2 == x->cksum2;
}

/*
 * Everything up to x is in the database file, which is frozen for as long as
 * the pin is held, while the WAL may be restarted at any moment: so pages are
 * read from there, whatever frame they were found in.
 */
static void
read_from_file(struct batch *b)
{
	size_t i;

	for (i = 0; i < b->map.n; i++)
		b->map.entry[i].frame = 0;
}

/* The pages that may have changed since the position, as x has them.  1; 0 if
 * they cannot all be told. */
static int
collect(struct capture *c, const struct wal_index *x, struct batch *b,
    struct wal **w, struct err *e)
{
	bool same = x->salt1 == c->pos.salt1 && x->salt2 == c->pos.salt2;
	int rc;

	if (c->tail != NULL || (!same && x->salt1 != c->pos.salt1 + 1))
		return 0;
	if ((rc = db_wal(c->db, w, e)) != 1 ||
	    (rc = read_leftover(c, *w, b, e)) != 1)
		return rc;
	if (!same)
		return read_generation(c, *w, x, b, e);
	wal_tell(*w, &b->end);
	if (b->end.frames < x->mx_frame)
		return 0;
	b->commit = x->commit;
	b->end.salt1 = x->salt1;
	b->end.salt2 = x->salt2;
	b->end.frames = x->mx_frame;
	b->end.cksum1 = x->cksum1;
	b->end.cksum2 = x->cksum2;
	return 1;
}

int
capture_rejoin(struct capture *c, struct err *e)
{
	struct wal_index x;
	struct batch b;
	struct wal *w;
	bool copied;
	int rc;

	if (c->doubt || (rc = db_index(c->db, &x, e)) == 0) {
		capture_give_up(c, "let go of the WAL");
		return 0;
	}
	if (rc < 0) {
		capture_give_up(c, "let go of the WAL");
		return -1;
	}
	copied = x.backfill >= x.mx_frame;
	if (x.salt1 == c->pos.salt1 && x.salt2 == c->pos.salt2 &&
	    (!copied || capture_has_all(c, &x)))
		return 0;	/* the pin keeps what is not consumed */
	memset(&b, 0, sizeof b);
	rc = collect(c, &x, &b, &w, e);
	if (rc == 1) {
		if (copied)
			read_from_file(&b);
		rc = complete(c, &b, e);
	}
	if (rc == 1)
		rc = publish_batch(c, &b, w, NULL, e) == 0 ? 1 : -1;
	if (rc == 1)
		c->pos = b.end;
	else
		capture_give_up(c, "the WAL was restarted unseen");
	wal_map_free(&b.map);
	return rc < 0 ? -1 : 0;
}

bool
capture_ghost(struct capture *c)
{
	struct wal_frame f;
	struct err ignored;
	struct wal *w;

	if (!db_is_wal(c->db) || c->doubt || c->pos.frames == 0 ||
	    db_wal(c->db, &w, &ignored) != 1 ||
	    wal_seek(w, c->pos.salt1, c->pos.salt2, &c->pos, &ignored) != 1)
		return false;
	while (wal_next(w, &f, &ignored) == 1)
		if (f.commit != 0)
			return true;
	return false;
}

int
capture_move_pin(struct capture *c, bool *found, struct err *e)
{
	int rc = 1;

	if (db_pin(c->db, e) != 0)
		return -1;
	if (db_is_wal(c->db))
		rc = append(c, found, e);
	if (rc == 1 && !c->doubt) {
		db_unpin_old(c->db);
		return 0;
	}
	if (rc == 0)	/* SQLite has recovered the index for the new pin */
		db_unpin_old(c->db);
	else
		db_unpin_new(c->db);
	return rc < 0 ? -1 : 1;
}

int
capture_pass(struct capture *c, bool *found, struct err *e)
{
	int rc, tries;

	*found = false;
	if (!db_is_pinned(c->db)) {
		capture_give_up(c, "no pin");
		if (db_pin(c->db, e) != 0)
			return -1;
	}
	if (intact_broken(&c->intact, c->db, c->db_path)) {
		log_line(LOG_WARN, "database file was overwritten, comparing",
		    "path", c->db_path, NULL);
		capture_give_up(c, "database file was overwritten");
	}
	c->intact.known = false;
	for (tries = 0; tries < INDEX_TRIES; tries++) {
		if (c->doubt && (*found = true, capture_diff(c, e) != 0))
			return -1;
		if (db_is_wal(c->db) && append(c, found, e) < 0)
			return -1;
		if (!c->doubt && (rc = capture_move_pin(c, found, e)) <= 0) {
			intact_note(&c->intact, c->db, c->db_path);
			return rc;
		}
	}
	return err_set(e, ERR_BUSY, "%s: the wal-index cannot be read",
	    c->db_path);
}

int
capture_last_pass(struct capture *c, bool *found, struct err *e)
{
	/* Without one, the pass begins one, and compares. */
	if (db_is_pinned(c->db)) {
		if (db_pin(c->db, e) != 0)
			return -1;
		db_unpin_new(c->db);
	}
	return capture_pass(c, found, e);
}

static int
load_tail(struct capture *c, const struct wal_index *x,
    struct capture_tail *t, struct err *e)
{
	struct batch *b = &t->batch;
	struct wal *w;
	size_t i;
	int rc;

	if ((rc = read_batch(c, x, &w, b, e)) != 1)
		return rc;
	if ((rc = complete(c, b, e)) != 1)
		return rc;
	t->bytes = xmalloc(b->map.n * page_size(c));
	for (i = 0; i < b->map.n; i++)
		if (read_entry(c, w, b, i, t->bytes + i * page_size(c),
		    e) != 0)
			return -1;
	return 1;
}

int
capture_take_tail(struct capture *c, bool *taken, struct err *e)
{
	struct capture_tail *t;
	struct wal_index x;
	int rc;

	*taken = false;
	if (c->tail != NULL || c->doubt)
		return 0;
	if ((rc = db_index(c->db, &x, e)) != 1)
		return rc;
	if (capture_has_all(c, &x)) {
		*taken = true;
		return 0;
	}
	if (c->pos.salt1 != x.salt1 || c->pos.salt2 != x.salt2 ||
	    (uint64_t)(x.mx_frame - c->pos.frames) * page_size(c) >
	    TAIL_BYTES)
		return 0;
	t = xcalloc(1, sizeof *t);
	if ((rc = load_tail(c, &x, t, e)) != 1) {
		free_tail(t);
		return rc;
	}
	c->tail = t;
	c->pos = t->batch.end;
	*taken = true;
	return 0;
}
