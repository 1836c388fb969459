/* SPDX-License-Identifier: ISC */
/* One look at a replica by compact.c or prune: its list, and what can be done
 * with the files in it. */
#ifndef PASS_H
#define PASS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"
#include "retain.h"
#include "store.h"
#include "util.h"

/* What was done since the start, and how files of level 0 stand. */
enum pass_counter {
	PASS_FILES, PASS_BYTES,		/* written by merges */
	PASS_DELETED, PASS_DAMAGED,	/* files */
	PASS_ELIGIBLE, PASS_NOT_COMPACTED, PASS_TOO_RECENT,
	PASS_COUNTERS
};

struct pass {
	/* Set by the caller; the rest is zero. */
	const char *root, *db;	/* db: for log lines */
	_Atomic uint64_t *count;	/* of PASS_COUNTERS; or NULL */
	const struct disk_owner *owner;
	const atomic_bool *cancel;	/* ends what takes long: ERR_BUSY */
	bool dry;		/* changes nothing but the list */

	struct store_list l;	/* changes with what is done */
	uint64_t aside;		/* largest TXID that was set aside, or 0 */
	char why[1024];		/* the chain cannot be continued; or "" */
};

/* What was read whole, across passes. */
struct pass_proofs {
	uint64_t snapshot;		/* TXID of a level 9 file */
	uint64_t l1_min, l1_max;	/* a range of level 1 */
};

/* Lists the replica; files with a wrong header are set aside. */
int	pass_begin(struct pass *p, struct err *e);
/* If something was set aside: sets why unless the newest state has a chain. */
void	pass_end(struct pass *p);

/* Largest TXID in which a good file of the level ends; -1: of all. */
uint64_t pass_max(const struct store_list *l, int level);
/* The good file that ends last, of the level or of all; or NULL. */
const struct store_file *pass_newest(const struct store_list *l, int level);

/*
 * Brings level up to what the level below it has, 9 to the newest TXID, by
 * merging.  Damaged inputs are set aside; if nothing else leads there, why is
 * set, and the level has what leads up to the hole.
 */
int	pass_bring_up(struct pass *p, int level, struct err *e);

/*
 * What may go under the rule, the files that this rests on having been read
 * whole (or else set aside): *go has a mark for each l.file[i]; the caller
 * frees.
 */
int	pass_choose(struct pass *p, const struct retain_rule *r,
	    struct pass_proofs *proofs, bool **go, struct err *e);
/* Deletes what is marked, lower TXIDs first; the list follows. */
int	pass_delete(struct pass *p, const bool *go, struct err *e);
/* Removes temporaries that another process left above level 0. */
int	pass_sweep_tmp(struct pass *p, struct err *e);
/* Removes NAME.damaged where a later snapshot, read whole, reaches further. */
int	pass_sweep_damaged(struct pass *p, struct pass_proofs *proofs,
	    struct err *e);

#endif
