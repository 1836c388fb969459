/* SPDX-License-Identifier: ISC */
/*
 * Full images.
 *
 * A rebase makes everything before it unnecessary without touching it.  At the
 * next TXID N+1 it publishes, all of one commit: level 9 1..N+1; each of the
 * levels from the highest down, from the level's last TXID + 1 to N+1, or,
 * where the level has no files, 1..N+1 (the snapshot, linked); level 0 N+1
 * last. Anything less leaves Litestream 0.5.17 failing in compaction, or
 * continuing below the snapshot.  Until the last of these is there the levels
 * disagree, which the next start takes for an interrupted rebase and repeats.
 */
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "ltx.h"
#include "snapshot.h"
#include "store.h"

#define UPSTREAM_LEVELS 3

int
snapshot_link_first(const struct emit *em, struct err *e)
{
	struct store_file from, to;

	memset(&from, 0, sizeof from);
	from.min_txid = from.max_txid = 1;
	to = from;
	to.level = STORE_SNAPSHOT;
	return store_link(em->root, &from, &to, &em->owner, e);
}

/* The pages of the image into w and, if it is empty, into the table. */
static int
write_pages(struct emit *em, struct image *m, struct ltx_writer *w,
    struct err *e)
{
	struct pages *t = em->pages;
	uint8_t *page = xmalloc(m->page_size);
	bool enter = t->commit == 0;
	uint32_t pgno;
	int rc;

	if (enter)
		pages_resize(t, m->commit);
	image_rewind(m);
	while ((rc = image_next(m, &pgno, page, e)) == 1) {
		atomic_fetch_add(em->steps, 1);
		if (ltx_write_page(w, pgno, page, e) != 0) {
			rc = -1;
			break;
		}
		if (enter)
			pages_set(t, pgno, ltx_page_hash(t->salt, pgno, page,
			    m->page_size));
	}
	free(page);
	return rc;
}

/* One file with the whole image. */
static int
write_image(struct emit *em, struct image *m, int level, uint64_t min_txid,
    int64_t stamp, struct store_file *f, uint64_t *sum, struct err *e)
{
	struct ltx_writer *w = NULL;
	struct store_new n;
	struct ltx_header h;
	bool renamed;
	uint64_t size;
	int rc = -1;

	memset(&h, 0, sizeof h);
	if (store_begin(&n, em->root, level, min_txid, em->next_txid,
	    &em->owner, e) != 0 ||
	    ltx_create(&w, n.fd, n.tmp, m->page_size, e) != 0 ||
	    write_pages(em, m, w, e) != 0)
		goto out;
	h.page_size = m->page_size;
	h.commit = m->commit;
	h.min_txid = min_txid;
	h.max_txid = em->next_txid;
	h.timestamp_ms = stamp;
	h.wal_offset = level == 0 ? WAL_HEADER_SIZE : 0;
	h.salt = em->pages->salt;
	h.post_fingerprint = em->pages->fingerprint;
	if (ltx_finish(w, &h, sum, &size, e) == 0 && emit_check(em, e) == 0)
		rc = store_publish(&n, stamp, &renamed, e);
	*f = n.f;
	f->h = h;
	if (rc == 0)
		disk_stat(n.path, &em->pages->newest, e);
out:
	ltx_free(w);
	store_end(&n);
	return rc;
}

/* A level: the files that it has stay, the image goes on top. */
static int
close_level(struct emit *em, struct image *m, int level,
    const struct store_file *snapshot, struct err *e)
{
	struct store_file to = *snapshot, ignored;
	struct store_list l;
	uint64_t max, sum;

	if (store_list(em->root, level, &l, e) != 0)
		return -1;
	max = store_max_txid(&l);
	store_list_free(&l);
	to.level = level;
	if (max == 0 || max >= em->next_txid)
		return store_link(em->root, snapshot, &to, &em->owner, e);
	return write_image(em, m, level, max + 1, snapshot->h.timestamp_ms,
	    &ignored, &sum, e);
}

/* What is configured, what upstream has by default, and what has files. */
static int
highest_level(const char *root, int levels)
{
	struct store_list l;
	struct err ignored;
	size_t i;

	if (levels < UPSTREAM_LEVELS)
		levels = UPSTREAM_LEVELS;
	if (store_list(root, -1, &l, &ignored) != 0)
		return levels;
	for (i = 0; i < l.n; i++)
		if (l.file[i].level > levels &&
		    l.file[i].level < STORE_SNAPSHOT)
			levels = l.file[i].level;
	store_list_free(&l);
	return levels;
}

int
snapshot_rebase(struct emit *em, struct db *db, int levels,
    struct wal_pos *pos, struct err *e)
{
	struct store_file snapshot, last;
	struct image m;
	uint64_t sum;
	int64_t stamp = time_wall_ms();
	int level, rc = -1;

	if (store_make(em->root, &em->owner, e) != 0 ||
	    image_take(&m, db, e) != 0)
		return -1;
	pages_clear(em->pages, m.page_size, em->pages->salt);
	if (write_image(em, &m, STORE_SNAPSHOT, 1, stamp, &snapshot, &sum,
	    e) != 0)
		goto out;
	for (level = highest_level(em->root, levels); level > 0; level--)
		if (close_level(em, &m, level, &snapshot, e) != 0)
			goto out;
	last = snapshot;
	last.level = 0;
	last.min_txid = em->next_txid;
	if (em->next_txid == 1)
		rc = store_link(em->root, &snapshot, &last, &em->owner, e);
	else
		rc = write_image(em, &m, 0, em->next_txid, stamp, &last, &sum,
		    e);
	if (rc != 0)
		goto out;
	em->pages->txid = em->next_txid;
	em->pages->file_checksum = sum;
	em->pages->wal = *pos = m.end;
	em->pre_unknown = false;
out:
	em->next_txid++;
	if (rc != 0)
		pages_clear(em->pages, m.page_size, em->pages->salt);
	image_close(&m);
	return rc;
}
