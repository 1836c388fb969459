/* SPDX-License-Identifier: ISC */
/*
 * A database in WAL mode is written by checkpoints alone.  So if size, times or
 * inode of the file change, and no checkpoint can have done it, something else
 * wrote it: cp over it, rsync --inplace.  No event and no frame tells that.
 *
 * If everything was copied when this was noted, under the pin that is still
 * held, no checkpoint can write anything: on mark 0 nobody may, and on a higher
 * mark only what is copied already.  Else a checkpoint announces itself in the
 * wal-index (nBackfillAttempted) before it writes the first page, and when it
 * is done (nBackfill): generation and both counters must be those of before.
 *
 * The index is read before the file is looked at when this is noted, so that a
 * checkpoint in between shows in the index the next time.
 */
#include "intact.h"

static bool
at_rest(struct db *db, struct wal_index *x)
{
	struct err ignored;

	return db_is_wal(db) && db_index(db, x, &ignored) == 1 &&
	    x->attempted <= x->backfill;
}

void
intact_note(struct intact *t, struct db *db, const char *path)
{
	struct err ignored;

	t->known = at_rest(db, &t->x) &&
	    disk_stat(path, &t->file, &ignored) == 0;
}

bool
intact_broken(const struct intact *t, struct db *db, const char *path)
{
	struct disk_stat now;
	struct wal_index x;
	struct err ignored;

	if (!t->known || disk_stat(path, &now, &ignored) != 0 ||
	    disk_stat_equal(&now, &t->file))
		return false;
	if (t->x.backfill >= t->x.mx_frame)
		return true;
	return at_rest(db, &x) && x.salt1 == t->x.salt1 &&
	    x.salt2 == t->x.salt2 && x.backfill == t->x.backfill &&
	    x.attempted == t->x.attempted;
}
