/* SPDX-License-Identifier: ISC */
/*
 * Our own checkpoints: how the WAL stays small although we pin it (DESIGN 7).
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "capture.h"
#include "util.h"

/*
 * All need a pin and leave one.  *complete: the whole WAL is in the database
 * file and the pin is on mark 0, so that the next writer begins the WAL anew.
 */
/* Whether everything is consumed and in the database file. */
int	checkpoint_is_complete(struct capture *c, bool *complete,
	    struct err *e);
/* Without any lock of the application's. */
int	checkpoint_free(struct capture *c, bool *complete, struct err *e);
/*
 * Lets go of the pin for some milliseconds after everything is consumed, so
 * that a writer that never pauses can restart the WAL after its own checkpoint.
 */
int	checkpoint_window(struct capture *c, bool *restarted, struct err *e);
/* Holding the write lock for a bounded tail; not at all if it is busy. */
int	checkpoint_locked(struct capture *c, bool *complete, struct err *e);
/* Empties a WAL that checkpoint_free() completed, if nobody uses it. */
int	checkpoint_truncate(struct capture *c, bool *done, struct err *e);
/*
 * While the replica cannot be written: whether the WAL, of *size bytes, must
 * not grow on, for the application's disk; and letting go of what is not
 * consumed.  The next pass compares.
 */
bool	checkpoint_must_let_go(const struct db *db, uint64_t *size);
int	checkpoint_let_go(struct capture *c, struct err *e);

#endif
