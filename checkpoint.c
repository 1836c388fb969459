/* SPDX-License-Identifier: ISC */
/*
 * Checkpoints.
 *
 * Our pins keep everybody from restarting the WAL, so we must see to it.  All
 * is done with PASSIVE checkpoints, which take no lock that a writer wants:
 * what is consumed and published is copied into the database file, and the
 * other pin begins; finding everything copied it begins on mark 0, and the
 * next writer restarts the WAL.  Only what is published is ever copied: the
 * pin stands at the consumed end.
 *
 * Under a writer that never pauses there is always one more frame: a checkpoint
 * syncs two files, and meanwhile it has committed again.  Its own automatic
 * checkpoint, made between two of its commits, does get to the end, but the WAL
 * is not restarted while a pin is held.  So, when everything is consumed, the
 * pin is let go for some milliseconds.  What is committed then is not lost: if
 * the WAL was restarted exactly once (salt 1 has grown by one) and the last
 * frame that we consumed is still in its place, so are all behind it, and every
 * page that can have changed since is in one of those or in the new generation.
 * These pages are published as they are now, under a pin again (capture.c);
 * frames of a transaction that never was committed do no harm, since only
 * their page numbers are used.  In every other case the next pass compares.
 *
 * If that does not help either (an application that has switched its automatic
 * checkpoint off) and the WAL is long, the write lock is taken: the tail (1
 * MiB at the most) is read into memory, copied, and the pin moved, with no I/O
 * on the replica meanwhile; the tail is published afterwards.  If we die
 * before that, the next start finds that WAL or database file are not as
 * saved, and compares.
 *
 * Never RESTART or FULL, which make writers wait; TRUNCATE only on mark 0,
 * where nothing can be dropped that is not consumed.
 */
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "checkpoint.h"

#define WINDOW_MS 250
#define WAL_LIMIT ((uint64_t)1 << 30)
#define FREE_PART 10		/* of the file system: one in ten */

int
checkpoint_is_complete(struct capture *c, bool *complete, struct err *e)
{
	struct wal_index x;
	int rc;

	*complete = !db_is_wal(c->db);
	if (*complete)
		return 0;
	rc = db_index(c->db, &x, e);
	*complete = rc == 1 && x.backfill == x.mx_frame &&
	    capture_has_all(c, &x);
	return rc < 0 ? -1 : 0;
}

int
checkpoint_free(struct capture *c, bool *complete, struct err *e)
{
	bool all, found;

	*complete = false;
	if (capture_pass(c, &found, e) != 0 ||
	    db_checkpoint(c->db, &all, e) != 0 || db_sync(c->db, e) != 0)
		return -1;
	if (!all)
		return 0;
	switch (capture_move_pin(c, &found, e)) {
	case 0:
		intact_note(&c->intact, c->db, c->db_path);
		return checkpoint_is_complete(c, complete, e);
	case 1:
		return 0;
	default:
		return -1;
	}
}

/* Moves the pin although nothing is published: only under the write lock, or
 * in doubt.  What kept checkpoints from writing goes with the old one. */
static int
move_blindly(struct capture *c, struct err *e)
{
	c->intact.known = false;
	if (db_pin(c->db, e) != 0)
		return -1;
	db_unpin_old(c->db);
	return 0;
}

int
checkpoint_window(struct capture *c, bool *restarted, struct err *e)
{
	uint32_t salt1 = c->pos.salt1, salt2 = c->pos.salt2;
	int64_t until = time_mono_ms() + WINDOW_MS;
	struct wal_index x;
	bool found;

	*restarted = false;
	if (capture_pass(c, &found, e) != 0)
		return -1;
	c->intact.known = false;	/* others may checkpoint now */
	db_unpin_all(c->db);
	do {
		sleep_ms(1);
		if (db_index(c->db, &x, e) == 1)
			*restarted = x.salt1 != salt1 || x.salt2 != salt2;
	} while (!*restarted && time_mono_ms() < until);
	if (db_pin(c->db, e) != 0) {
		capture_give_up(c, "let go of the WAL");
		return -1;
	}
	return capture_rejoin(c, e);
}

int
checkpoint_locked(struct capture *c, bool *complete, struct err *e)
{
	bool taken, all = false, found;
	int rc;

	/* A window lies before: what it let in is more than the tail may be. */
	if (checkpoint_free(c, complete, e) != 0)
		return -1;
	if (*complete || !db_write_lock(c->db))
		return 0;
	rc = capture_take_tail(c, &taken, e);
	if (rc == 0 && taken) {
		rc = move_blindly(c, e);
		if (rc == 0)
			rc = db_checkpoint(c->db, &all, e);
		if (rc == 0 && all)
			rc = move_blindly(c, e);
		if (rc == 0 && all)
			rc = checkpoint_is_complete(c, complete, e);
	}
	db_write_unlock(c->db);
	if (rc != 0)
		return -1;
	return capture_pass(c, &found, e);
}

int
checkpoint_truncate(struct capture *c, bool *done, struct err *e)
{
	bool complete;

	*done = false;
	if (checkpoint_is_complete(c, &complete, e) != 0)
		return -1;
	if (!complete || intact_broken(&c->intact, c->db, c->db_path))
		return 0;	/* the next pass says so */
	if (db_truncate_wal(c->db, done, e) != 0)
		return -1;
	intact_note(&c->intact, c->db, c->db_path);
	return 0;
}

bool
checkpoint_must_let_go(const struct db *db, uint64_t *size)
{
	const char *wal = db_wal_path(db);
	struct statvfs fs;
	struct stat st;
	uint64_t part;

	if (!db_is_wal(db) || stat(wal, &st) != 0 || statvfs(wal, &fs) != 0)
		return false;
	*size = (uint64_t)st.st_size;
	part = (uint64_t)fs.f_blocks * fs.f_frsize / FREE_PART;
	return *size >= WAL_LIMIT || (*size >= part / 10 &&
	    fs.f_bavail < fs.f_blocks / FREE_PART);
}

int
checkpoint_let_go(struct capture *c, struct err *e)
{
	bool all;

	capture_give_up(c, "replica could not be written");
	if (move_blindly(c, e) != 0 || db_checkpoint(c->db, &all, e) != 0)
		return -1;
	return all ? move_blindly(c, e) : 0;
}
