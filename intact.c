/* SPDX-License-Identifier: ISC */
/*
 * A database in WAL mode is written by checkpoints alone, and each announces
 * itself in the wal-index (nBackfillAttempted) before it writes the first
 * page, and when it is done (nBackfill).  So if size, times or inode of the
 * file are not those of before while generation and both counters are,
 * something else wrote it: cp over it, rsync --inplace.  No event and no frame
 * tells that.
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
	return at_rest(db, &x) && x.salt1 == t->x.salt1 &&
	    x.salt2 == t->x.salt2 && x.backfill == t->x.backfill &&
	    x.attempted == t->x.attempted;
}
