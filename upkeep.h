/* SPDX-License-Identifier: ISC */
/* What is to be done for an open pair, and when. */
#ifndef UPKEEP_H
#define UPKEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "audit.h"
#include "levels.h"
#include "pair.h"
#include "trouble.h"
#include "util.h"

struct upkeep {
	/* Set by the caller. */
	struct pair *pair;
	struct levels_entry *levels;
	int64_t audit_interval_ms;	/* 0: never */
	int64_t sync_interval_ms;	/* between passes; -1: by load */
	uint32_t checkpoint_frames;	/* a longer WAL; 0: by our own rule */
	int64_t truncate_frames;	/* 0: by our own rule; < 0: never */
	bool watched;			/* else it polls */

	struct trouble trouble;		/* what lasts */

	/* Private: moments, since boot, or INT64_MAX. */
	int64_t pass_at;	/* wanted; not before spacing_until */
	int64_t spacing_until, look_at, checkpoint_at, truncate_at, save_at;
	int64_t heartbeat_at, audit_at, spare_at;
	int64_t look_ms, ghost_until, last_save, save_ms;
	int64_t checkpoint_wait, truncate_wait;
	unsigned tries;		/* checkpoints that did not complete */
	bool busy;		/* the last one needed a window */
	bool away;		/* the replica's file system is */
	bool asked;		/* somebody waits for the next pass */
	struct audit audit;
	uint64_t differed;	/* of the audit's, told */
	char rebase_why[256];	/* "": none is wanted */
};

/* The pair has just been opened. */
void	upkeep_begin(struct upkeep *u);
/* Something was written to the WAL. */
void	upkeep_wake(struct upkeep *u);
/* When there is something to do. */
int64_t	upkeep_next(const struct upkeep *u);
/*
 * Does what is due; names: files were created, removed or renamed.  1: the pair
 * must be opened anew; 0; -1: failed, as u->trouble has noted.
 */
int	upkeep_work(struct upkeep *u, bool names, struct err *e);
/* Where the replica's root is: 0 in its place; 1 open anew; -1 away. */
int	upkeep_root(struct upkeep *u, struct err *e);

#endif
