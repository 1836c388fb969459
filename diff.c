/* SPDX-License-Identifier: ISC */
/*
 * Capture without continuity: what capture.h has for when it is in doubt
 * whether the WAL goes on where it was left.
 *
 * The image of the newest commit (image.c) is compared with the page table,
 * page by page, and what differs is published.  An empty table makes that the
 * first backup.  A database in rollback-journal mode is read in slices between
 * which writers get in; if its change counter moves meanwhile, all is read
 * again, at last in one go.
 *
 * Continuity is proven in two ways only (DESIGN 5): the database file is the
 * same and unchanged, and either the WAL begins with exactly the frames that
 * were consumed, or everything had been copied and there is no WAL now.
 */
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "image.h"
#include "ltx.h"
#include "wal.h"

#define SLICE_PAGES 256		/* of a rollback-journal database */
#define SLICED_TRIES 3
#define PROGRESS_MS 10000

/* A rollback-journal database: lets writers in, and sees whether any came. */
static int
breathe(struct capture *c, const uint8_t *counter, struct err *e)
{
	uint8_t *page = xmalloc(c->em.pages->page_size);
	int rc = -1;

	db_unpin_all(c->db);
	if (db_pin(c->db, e) != 0 || db_read_page(c->db, 1, page, e) != 0)
		goto out;
	if (memcmp(page + 24, counter, 4) != 0)
		err_set(e, ERR_BUSY, "%s: changed while it was read",
		    c->db_path);
	else
		rc = 0;
out:
	free(page);
	return rc;
}

static void
report(struct capture *c, uint32_t pgno, uint32_t commit, int64_t *next)
{
	int64_t now = time_mono_ms();

	if (*next == 0)
		*next = now + PROGRESS_MS;
	if (now < *next)
		return;
	*next = now + PROGRESS_MS;
	log_line(LOG_INFO, "reading database", "path", c->db_path, "page",
	    I64(pgno), "pages", I64(commit), NULL);
}

static bool
cancelled(const struct capture *c)
{
	return c->cancel != NULL && atomic_load(c->cancel);
}

/* Adds every page of the image to f; sliced: see breathe(). */
static int
add_image(struct capture *c, struct emit_file *f, struct image *m,
    bool sliced, struct err *e)
{
	uint8_t *page = xmalloc(m->page_size), counter[4] = { 0 };
	uint32_t pgno = 0;
	int64_t next = 0;
	int rc;

	while ((rc = image_next(m, &pgno, page, e)) == 1) {
		if (pgno == 1)
			memcpy(counter, page + 24, sizeof counter);
		if (emit_page(f, pgno, page, e) != 0)
			break;
		if (pgno % SLICE_PAGES != 0)
			continue;
		report(c, pgno, m->commit, &next);
		if (cancelled(c)) {
			err_set(e, ERR_BUSY, "%s: stopped at page %lu of %lu",
			    c->db_path, (unsigned long)pgno,
			    (unsigned long)m->commit);
			break;
		}
		if (sliced && breathe(c, counter, e) != 0)
			break;
	}
	if (rc == 0 && sliced)
		rc = breathe(c, counter, e);
	free(page);
	return rc == 0 ? 0 : -1;
}

static int
diff_once(struct capture *c, bool sliced, struct err *e)
{
	struct image m;
	struct emit_file f;
	int rc = -1;

	if (image_take(&m, c->db, e) != 0)
		return -1;
	emit_init(&f, &c->em);
	if (add_image(c, &f, &m, sliced, e) == 0 &&
	    emit_publish(&f, m.commit, e) == 0) {
		c->pos = c->em.pages->wal = m.end;
		c->doubt = false;
		rc = 0;
	}
	emit_free(&f);
	image_close(&m);
	return rc;
}

int
capture_diff(struct capture *c, struct err *e)
{
	int i;

	capture_give_up(c, "compare");
	for (i = 0; i < SLICED_TRIES && !db_is_wal(c->db); i++) {
		if (!db_is_pinned(c->db) && db_pin(c->db, e) != 0)
			return -1;
		if (diff_once(c, true, e) == 0)
			return 0;
		if (e->kind != ERR_BUSY || cancelled(c))
			return -1;
	}
	if (!db_is_pinned(c->db) && db_pin(c->db, e) != 0)
		return -1;
	return diff_once(c, false, e);
}

int
capture_count(struct capture *c, uint32_t *differ, uint32_t *total,
    struct err *e)
{
	struct pages *t = c->em.pages;
	uint8_t *page = xmalloc(t->page_size);
	uint64_t hash;
	struct image m;
	uint32_t pgno;
	int rc;

	*differ = *total = 0;
	if ((rc = image_take(&m, c->db, e)) != 0)
		goto out;
	while ((rc = image_next(&m, &pgno, page, e)) == 1) {
		++*total;
		if (!pages_get(t, pgno, &hash) ||
		    hash != ltx_page_hash(t->salt, pgno, page, t->page_size))
			++*differ;
	}
	image_close(&m);
out:
	free(page);
	return rc;
}

/* Whether the WAL begins with exactly what was consumed. */
static int
same_prefix(struct capture *c, const struct wal_pos *p, struct err *e)
{
	struct wal_index x;
	struct wal_frame f;
	struct wal_pos at;
	struct wal *w;
	int rc;

	if ((rc = db_index(c->db, &x, e)) != 1)
		return rc;
	if (p->frames == 0 || x.salt1 != p->salt1 || x.salt2 != p->salt2 ||
	    x.mx_frame < p->frames)
		return 0;
	if ((rc = db_wal(c->db, &w, e)) != 1 ||
	    (rc = wal_seek(w, p->salt1, p->salt2, NULL, e)) != 1)
		return rc;
	do {
		if ((rc = wal_next(w, &f, e)) != 1)
			return rc;
		wal_tell(w, &at);
	} while (at.frames < p->frames);
	return at.cksum1 == p->cksum1 && at.cksum2 == p->cksum2;
}

int
capture_prove(struct capture *c, const struct disk_stat *db, struct err *e)
{
	struct pages *t = c->em.pages;
	struct disk_stat wal;
	int rc;

	c->doubt = true;
	memset(&c->pos, 0, sizeof c->pos);
	if (!t->settled || !disk_stat_equal(&t->db, db)) {
		c->reason = "database file is not known to be unchanged";
		return 0;
	}
	if (!db_is_wal(c->db)) {
		c->doubt = !t->clean;
		c->reason = "not stopped cleanly";
		return 0;
	}
	if (t->clean && (disk_stat(db_wal_path(c->db), &wal, e) != 0 ||
	    wal.size == 0)) {
		c->doubt = false;
		return 0;
	}
	if ((rc = same_prefix(c, &t->wal, e)) < 0)
		return -1;
	c->reason = "wal is not the one that was consumed";
	c->doubt = rc == 0;
	if (rc == 1)
		c->pos = t->wal;
	return 0;
}
