/* SPDX-License-Identifier: ISC */
/*
 * From the live database to level 0 of the replica: appending what the WAL has
 * new, and comparing with the page table where continuity is not proven.
 */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "disk.h"
#include "emit.h"
#include "intact.h"
#include "util.h"
#include "wal.h"

struct capture_tail;

struct capture {
	struct emit em;		/* the end of the chain, the page table */
	const char *db_path;	/* for log lines */
	struct db *db;
	const atomic_bool *cancel;	/* a diff gives up: ERR_BUSY */
	bool doubt;		/* continuity is not proven: compare */
	const char *reason;	/* why, for the log */

	/* Kept by capture.c. */
	struct intact intact;	/* as of the end of the last pass */
	struct wal_pos pos;	/* consumed; at or ahead of the table's */
	struct capture_tail *tail;	/* consumed, not yet published */
};

/*
 * Whether the table's position may be continued (DESIGN 5): the caller has
 * checked that the replica ends where the table does, and holds a pin.  db is
 * what the database file looks like now.  Sets doubt, reason and pos.
 */
int	capture_prove(struct capture *c, const struct disk_stat *db,
	    struct err *e);
/*
 * One pass: what is committed now is published when it returns 0, and the pin
 * stands at the end.  *found tells whether there was anything new in the WAL.
 * Needs a pin.  ERR_BUSY: try again.  After a failure nothing is lost: the
 * position stays, and the pins hold what it needs.
 */
int	capture_pass(struct capture *c, bool *found, struct err *e);
/* The same at the end: SQLite recovers an index that a dead writer left. */
int	capture_last_pass(struct capture *c, bool *found, struct err *e);
/* The second half of a pass: 0; 1 if it must be made again; -1. */
int	capture_move_pin(struct capture *c, bool *found, struct err *e);
/* Compares the image with the table and publishes what differs, if anything. */
int	capture_diff(struct capture *c, struct err *e);
/* How many of the pages of the image differ from the table. */
int	capture_count(struct capture *c, uint32_t *differ, uint32_t *total,
	    struct err *e);
/*
 * Under the write lock: takes what is new into memory, without any I/O on the
 * replica; the next pass publishes it.  *taken false: more than 1 MiB.
 */
int	capture_take_tail(struct capture *c, bool *taken, struct err *e);
/*
 * After a moment without a pin, with one again: publishes what changed since
 * the position, although the WAL may have been restarted once; otherwise the
 * next pass compares.
 */
int	capture_rejoin(struct capture *c, struct err *e);
/*
 * Whether the WAL holds a whole transaction past the position: one that the
 * index will have in a moment, or never (its writer died before).
 */
bool	capture_ghost(struct capture *c);
/* Whether index x holds nothing that is not consumed. */
bool	capture_has_all(const struct capture *c, const struct wal_index *x);
/* Gives up what is consumed and not published: the next pass compares. */
void	capture_give_up(struct capture *c, const char *reason);

#endif
