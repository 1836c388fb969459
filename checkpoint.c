/* SPDX-License-Identifier: ISC */
/*
 * Checkpoints.
 *
 * Our pins keep everybody from restarting the WAL, so we must see to it.  All is
 * done with PASSIVE checkpoints, which take no lock that a writer wants: what
 * is consumed and published is copied into the database file, and the other pin
 * begins; finding everything copied it begins on mark 0, and the next writer
 * restarts the WAL.  Only what is published is ever copied: the pin stands at
 * the consumed end.
 *
 * Under a writer that never pauses there may always be one more frame.  Then,
 * rarely, the write lock is taken: the tail (1 MiB at the most) is read into
 * memory, copied, and the pin moved, with no I/O on the replica meanwhile; the
 * tail is published afterwards.  If we die before that, the next start finds
 * that WAL or database file are not as saved, and compares.
 *
 * Never RESTART or FULL, which make writers wait; TRUNCATE only on mark 0, where
 * nothing can be dropped that is not consumed.
 */
#include "checkpoint.h"

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
		return checkpoint_is_complete(c, complete, e);
	case 1:
		return 0;
	default:
		return -1;
	}
}

/* Moves the pin although nothing is published: only under the write lock, or
 * in doubt. */
static int
move_blindly(struct capture *c, struct err *e)
{
	if (db_pin(c->db, e) != 0)
		return -1;
	db_unpin_old(c->db);
	return 0;
}

int
checkpoint_locked(struct capture *c, bool *complete, struct err *e)
{
	bool taken, all = false, found;
	int rc;

	*complete = false;
	if (!db_write_lock(c->db))
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
	return complete ? db_truncate_wal(c->db, done, e) : 0;
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
