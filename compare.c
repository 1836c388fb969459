/* SPDX-License-Identifier: ISC */
/*
 * What the replica holds against the live database.
 *
 * The database is hashed as it is at one commit, under a pin, with the salt of
 * the replica's page table.  That commit is at or after the table's, as it was
 * taken later.  So the table is rolled forward, file by file, until it is the
 * same; a replicator at work gets there in a moment, unless its files end
 * at other commits than ours: then another image is taken.  When neither side
 * has moved for a while and they differ, the position that was saved with
 * the replicator's own page table tells whether anything was committed since.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "compare.h"
#include "db.h"
#include "image.h"
#include "plan.h"
#include "state.h"

#define IMAGES 20		/* how many are tried */
#define WAIT_MS 1000		/* for files that end at the image */
#define STEP_MS 50
#define STABLE_MS 2000		/* both sides, before it is a verdict */

struct live {
	struct pages image;	/* the database at one commit */
	struct wal_pos end;
	bool in_file;		/* all of it in the database file */
};

static int
hash_image(struct db *db, struct live *v, uint32_t salt, struct err *e)
{
	struct image m;
	uint8_t *page;
	uint32_t pgno;
	int rc;

	if (image_take(&m, db, e) != 0)
		return -1;
	page = xmalloc(m.page_size);
	pages_clear(&v->image, m.page_size, salt);
	pages_resize(&v->image, m.commit);
	v->end = m.end;
	v->in_file = m.wal == NULL;
	while ((rc = image_next(&m, &pgno, page, e)) == 1)
		pages_set(&v->image, pgno, ltx_page_hash(salt, pgno, page,
		    m.page_size));
	image_close(&m);
	free(page);
	return rc;
}

static int
take(struct db *db, struct live *v, uint32_t salt, struct err *e)
{
	int rc;

	if (db_pin(db, e) != 0)
		return -1;
	rc = hash_image(db, v, salt, e);
	db_unpin_all(db);
	return rc;
}

/* How many pages differ, in size or content. */
static uint32_t
differ(const struct pages *a, const struct pages *b)
{
	uint32_t i, n = 0;
	uint64_t ha, hb;
	bool in_a, in_b;

	if (a->page_size != b->page_size)
		return a->commit > b->commit ? a->commit : b->commit;
	for (i = 1; i <= a->commit || i <= b->commit; i++) {
		in_a = pages_get(a, i, &ha);
		in_b = pages_get(b, i, &hb);
		n += in_a != in_b || (in_a && ha != hb);
	}
	return n;
}

static bool
same(const struct pages *a, const struct pages *b)
{
	return a->page_size == b->page_size && a->commit == b->commit &&
	    a->fingerprint == b->fingerprint && differ(a, b) == 0;
}

/* Rolls t by what the replica has got, until it is v: 1; 0 if it is not; -1. */
static int
follow(const char *root, struct pages *t, const struct live *v,
    struct err *e)
{
	struct progress g;
	struct store_list l;
	struct store_file *f;
	struct plan p;
	uint32_t from;
	size_t i;
	int rc = 0;

	progress_init(&g, false);
	if (store_list(root, -1, &l, e) != 0)
		return -1;
	if (store_max_txid(&l) > t->txid) {
		if ((rc = plan_make(&l, t->txid, 0, &p, e)) == 0) {
			for (i = 0; rc == 0 && i < p.n; i++) {
				f = &l.file[p.file[i]];
				rc = check_read(root, f, &from, t, &g, e);
				if (rc == 0)
					rc = same(t, &v->image);
			}
			plan_free(&p);
		}
	}
	store_list_free(&l);
	return rc;
}

/* Whether the replicator's position at t's TXID is the image's. */
static bool
same_place(const char *db_path, const struct pages *t, const struct live *v)
{
	char *meta = state_meta(db_path), *path = xasprintf("%s/pages", meta);
	struct disk_stat now;
	struct pages saved;
	struct err ignored;
	bool is = false;

	pages_init(&saved);
	if (disk_stat(db_path, &now, &ignored) == 0 &&
	    pages_load(&saved, path, now.size, &ignored) == 1 &&
	    saved.txid == t->txid && saved.salt == t->salt) {
		if (v->end.frames > 0)
			is = memcmp(&saved.wal, &v->end, sizeof v->end) == 0;
		else
			is = saved.clean && v->in_file &&
			    disk_stat(db_path, &now, &ignored) == 0 &&
			    disk_stat_equal(&now, &saved.db);
	}
	pages_free(&saved);
	free(path);
	free(meta);
	return is;
}

static int
verdict(const char *db_path, const struct pages *t, const struct live *v,
    bool stable, struct err *e)
{
	uint32_t n = differ(t, &v->image), of = v->image.commit;

	if (stable && same_place(db_path, t, v))
		return err_set(e, ERR_DAMAGED, "%s: %" PRIu32 " of %" PRIu32
		    " pages are not those of the replica at TXID %s, although "
		    "nothing was committed since", db_path, n, of,
		    TXID(t->txid));
	if (!stable)
		err_set(e, ERR_BUSY, "%s: is written to, and no file of the "
		    "replica ended at a commit that was looked at", db_path);
	else
		err_set(e, ERR_BUSY, "%s: %" PRIu32 " of %" PRIu32 " pages are "
		    "not those of the replica at TXID %s: it has commits that "
		    "the replica does not have, or they differ", db_path, n,
		    of, TXID(t->txid));
	err_hint(e, "litestream replicate -once, then verify again");
	return -1;
}

/* Waits for the replica to get to the image: 1; 0 if it does not; -1. */
static int
await(const char *root, struct pages *t, const struct live *v, struct err *e)
{
	int64_t until = time_mono_ms() + WAIT_MS;
	int rc;

	if (same(t, &v->image))
		return 1;
	while ((rc = follow(root, t, v, e)) == 0 && time_mono_ms() < until)
		sleep_ms(STEP_MS);
	return rc;
}

int
compare_db(const char *root, const char *db_path, struct pages *t,
    struct err *e)
{
	uint64_t last_print = 0, last_txid = 0;
	int64_t since = time_mono_ms();
	struct db *db = NULL;
	struct live v;
	int i, rc = 0;

	pages_init(&v.image);
	if (db_open(&db, db_path, e) != 0)
		return -1;
	for (i = 0; rc == 0 && i < IMAGES; i++) {
		if ((rc = take(db, &v, t->salt, e)) != 0 ||
		    (rc = await(root, t, &v, e)) != 0)
			break;
		if (i == 0 || v.image.fingerprint != last_print ||
		    t->txid != last_txid)
			since = time_mono_ms();
		else if (time_mono_ms() - since >= STABLE_MS)
			break;
		last_print = v.image.fingerprint;
		last_txid = t->txid;
	}
	if (rc == 0)
		rc = verdict(db_path, t, &v, i < IMAGES, e);
	else if (rc == 1)
		rc = 0;
	db_close(db);
	pages_free(&v.image);
	return rc;
}
