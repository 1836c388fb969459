/* SPDX-License-Identifier: ISC */
/*
 * The live database at one commit.
 *
 * Under a pin, E is the mxFrame of the index.  The image is: for each page the
 * newest frame <= E in the WAL, else the page in the database file.  It holds
 * although writers and checkpoints go on: the pin's mark M is <= E, only frames
 * <= M can be copied into the database file, and every page of those is read
 * from the WAL.  Where all E frames are copied already (backfill = E) the image
 * is the database file alone, since nothing past M = E can reach it; the same
 * holds for a WAL without frames.
 *
 * The frames up to E are checked on the way (salts, running checksum), and must
 * end in the checksum and the database size that the index has for E.
 */
#include <string.h>

#include "image.h"
#include "ltx.h"

#define TRIES 50	/* an index that is torn or on the move */

static int
contradiction(struct image *m, struct err *e)
{
	return err_set(e, ERR_DAMAGED, "%s: frames up to %lu are not those "
	    "of the index", db_wal_path(m->db), (unsigned long)m->end.frames);
}

/* Reads frames 1..E; 1, 0 if the WAL is not (or no longer) x's, -1. */
static int
map_wal(struct image *m, const struct wal_index *x, struct err *e)
{
	struct wal_frame f = { 0, 0, NULL };
	struct wal_index now;
	uint32_t i;
	int rc;

	if ((rc = db_wal(m->db, &m->wal, e)) != 1)
		return rc;
	if ((rc = wal_seek(m->wal, x->salt1, x->salt2, NULL, e)) != 1)
		return rc;
	for (i = 1; i <= x->mx_frame; i++) {
		if ((rc = wal_next(m->wal, &f, e)) != 1)
			break;
		wal_map_add(&m->map, f.pgno, i);
	}
	if (rc < 0)
		return -1;
	wal_tell(m->wal, &m->end);
	if (rc == 0 || f.commit != x->commit ||
	    m->end.cksum1 != x->cksum1 || m->end.cksum2 != x->cksum2) {
		m->end.frames = x->mx_frame;
		if (db_index(m->db, &now, e) == 1 &&
		    now.salt1 == x->salt1 && now.salt2 == x->salt2)
			return contradiction(m, e);
		return 0;
	}
	if (db_check_size(m->db, m->commit, 0, &m->map, e) != 0)
		return -1;
	wal_map_reduce(&m->map, m->commit);
	return 1;
}

/* A rollback-journal database, or a WAL that adds nothing to the file. */
static int
file_alone(struct image *m, struct err *e)
{
	m->wal = NULL;
	if (m->commit == 0)
		return db_file_pages(m->db, &m->commit, e) == 0 ? 1 : -1;
	return db_check_size(m->db, m->commit, 0, &m->map, e) == 0 ? 1 : -1;
}

static int
open_image(struct image *m, struct db *db, struct err *e)
{
	struct wal_index x;
	int rc;

	memset(m, 0, sizeof *m);
	m->db = db;
	m->page_size = db_page_size(db);
	m->next = 1;
	if (!db_is_wal(db))
		return file_alone(m, e);
	if ((rc = db_index(db, &x, e)) != 1)
		return rc;
	m->end.salt1 = x.salt1;
	m->end.salt2 = x.salt2;
	m->end.frames = x.mx_frame;
	m->end.cksum1 = x.cksum1;
	m->end.cksum2 = x.cksum2;
	if (x.mx_frame == 0)
		return file_alone(m, e);
	m->commit = x.commit;
	if (x.backfill >= x.mx_frame)
		return file_alone(m, e);
	rc = map_wal(m, &x, e);
	if (rc != 1)
		image_close(m);
	return rc;
}

int
image_take(struct image *m, struct db *db, struct err *e)
{
	int rc = 0, tries;

	if (!db_is_pinned(db))
		return err_set(e, ERR_BUSY, "%s: no read transaction",
		    db_wal_path(db));
	for (tries = 0; rc == 0 && tries < TRIES; tries++) {
		rc = open_image(m, db, e);
		if (rc == 0 && db_pin(db, e) != 0)
			return -1;
		if (rc == 0)
			db_unpin_old(db);
	}
	if (rc == 0)
		return err_set(e, ERR_BUSY, "%s: the wal-index cannot be "
		    "read", db_wal_path(db));
	if (rc == 1 && m->commit == 0)
		return err_set(e, ERR_ABSENT, "%s: no pages, not yet a "
		    "database", db_wal_path(db));
	return rc == 1 ? 0 : -1;
}

int
image_next(struct image *m, uint32_t *pgno, uint8_t *page, struct err *e)
{
	uint32_t p = m->next;
	int rc;

	if (p == ltx_lock_page(m->page_size))
		p++;
	if (p > m->commit || p < m->next)
		return 0;
	while (m->at < m->map.n && m->map.entry[m->at].pgno < p)
		m->at++;
	if (m->at < m->map.n && m->map.entry[m->at].pgno == p)
		rc = wal_read_page(m->wal, &m->end, &m->map.entry[m->at],
		    page, e);
	else
		rc = db_read_page(m->db, p, page, e);
	m->next = p + 1;
	*pgno = p;
	return rc == 0 ? 1 : -1;
}

void
image_rewind(struct image *m)
{
	m->next = 1;
	m->at = 0;
}

void
image_close(struct image *m)
{
	wal_map_free(&m->map);
}
