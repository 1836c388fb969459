/* SPDX-License-Identifier: ISC */
/*
 * Level 0, one file at a time.
 *
 * The order is: write, publish (store.c), then advance table and TXID, so that
 * an entry of the table never promises what the replica does not have.  After
 * a rename whose directory could not be synced the file may be there or not,
 * and somebody may have read it: its TXID is spent.  Its pages lose their
 * entries and are written again under the next TXID, which says (pre-
 * fingerprint 0) that it is not known what it builds upon.  Nothing is renamed
 * whose pages were read under pins that are lost now.
 */
#include <stdlib.h>
#include <string.h>

#include "emit.h"
#include "ltx.h"
#include "wal.h"

static int
begin(struct emit_file *f, struct err *e)
{
	struct emit *em = f->em;

	if (store_begin(&f->file, em->root, 0, em->next_txid, em->next_txid,
	    &em->owner, e) != 0) {
		store_end(&f->file);
		return -1;
	}
	f->begun = true;
	return ltx_create(&f->w, f->file.fd, f->file.tmp,
	    em->pages->page_size, e);
}

int
emit_check(struct emit *em, struct err *e)
{
	atomic_fetch_add(em->steps, 1);
	if (!db_is_relieved(em->db))
		return 0;
	return err_set(e, ERR_BUSY, "%s: its WAL was let go of meanwhile",
	    em->db_path);
}

void
emit_init(struct emit_file *f, struct emit *em)
{
	memset(f, 0, sizeof *f);
	f->em = em;
	f->fingerprint = em->pages->fingerprint;
	f->start_ms = time_mono_ms();
}

void
emit_free(struct emit_file *f)
{
	ltx_free(f->w);
	if (f->begun)
		store_end(&f->file);
	free(f->pgno);
	free(f->hash);
}

int
emit_page(struct emit_file *f, uint32_t pgno, const uint8_t *page,
    struct err *e)
{
	struct pages *t = f->em->pages;
	uint64_t hash = ltx_page_hash(t->salt, pgno, page, t->page_size);
	uint64_t old = 0;
	bool had = pages_get(t, pgno, &old);

	atomic_fetch_add(f->em->steps, 1);
	if (had && old == hash)
		return 0;
	if (!f->begun && begin(f, e) != 0)
		return -1;
	f->pgno = xgrow(f->pgno, f->n, &f->cap_pgno, sizeof *f->pgno);
	f->hash = xgrow(f->hash, f->n, &f->cap_hash, sizeof *f->hash);
	f->pgno[f->n] = pgno;
	f->hash[f->n++] = hash;
	f->fingerprint ^= (had ? old : 0) ^ hash;
	return ltx_write_page(f->w, pgno, page, e);
}

/* The directory could not be synced after the rename. */
static void
spend(struct emit_file *f, uint32_t commit)
{
	struct pages *t = f->em->pages;
	size_t i;

	f->em->next_txid++;
	f->em->pre_unknown = true;
	if (commit < t->commit)
		pages_resize(t, commit);
	for (i = 0; i < f->n; i++)
		pages_unset(t, f->pgno[i]);
}

/* The replica has what f holds: so do table and counters. */
static void
advance(struct emit_file *f, uint32_t commit, uint64_t sum, uint64_t size)
{
	struct emit *em = f->em;
	struct pages *t = em->pages;
	struct err ignored;
	size_t i;

	pages_resize(t, commit);
	for (i = 0; i < f->n; i++)
		pages_set(t, f->pgno[i], f->hash[i]);
	t->txid = em->next_txid++;
	t->file_checksum = sum;
	disk_stat(f->file.path, &t->newest, &ignored);
	em->pre_unknown = false;
	em->published++;
	if (em->total != NULL) {
		atomic_fetch_add(&em->total[0], 1);
		atomic_fetch_add(&em->total[1], size);
	}
	em->last_size = size;
	em->last_pages = (uint32_t)f->n;
	em->last_ms = time_mono_ms() - f->start_ms;
	log_line(LOG_DEBUG, "ltx file uploaded", "db", em->db_path, "level",
	    "0", "minTXID", TXID(t->txid), "maxTXID", TXID(t->txid), "size",
	    I64(size), "pages", I64(f->n), NULL);
}

/* The newest file of level 0 is never deleted by one of us. */
static bool
previous_gone(const struct emit *em)
{
	struct store_file f = { .level = 0 };
	struct disk_stat st;
	struct err why;
	char *path;
	bool gone;

	f.min_txid = f.max_txid = em->pages->txid;
	path = store_path(em->root, &f);
	gone = disk_stat(path, &st, &why) != 0 && why.kind == ERR_ABSENT;
	free(path);
	return gone;
}

int
emit_publish(struct emit_file *f, uint32_t commit, struct err *e)
{
	struct emit *em = f->em;
	struct pages *t = em->pages;
	struct ltx_header h;
	uint64_t sum, size, cut;
	uint32_t p;
	bool renamed;

	if (t->txid != 0 && previous_gone(em))
		return err_set(e, ERR_DAMAGED, "%s: the file of TXID %016llx "
		    "is gone", em->root, (unsigned long long)t->txid);
	if (!f->begun && commit == t->commit && !em->pre_unknown)
		return emit_check(em, e);
	if (!f->begun && begin(f, e) != 0)
		return -1;
	for (p = commit + 1; p <= t->commit && p != 0; p++)
		if (pages_get(t, p, &cut))
			f->fingerprint ^= cut;
	memset(&h, 0, sizeof h);
	h.page_size = t->page_size;
	h.commit = commit;
	h.min_txid = h.max_txid = em->next_txid;
	h.timestamp_ms = time_wall_ms();
	h.wal_offset = WAL_HEADER_SIZE;
	h.salt = t->salt;
	h.pre_fingerprint = em->pre_unknown ? 0 : t->fingerprint;
	h.post_fingerprint = f->fingerprint;
	if (ltx_finish(f->w, &h, &sum, &size, e) != 0 ||
	    emit_check(em, e) != 0)
		return -1;
	if (store_publish(&f->file, h.timestamp_ms, &renamed, e) != 0) {
		if (renamed)
			spend(f, commit);
		return -1;
	}
	advance(f, commit, sum, size);
	return 0;
}
