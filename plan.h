/* SPDX-License-Identifier: ISC */
/*
 * Which files make a restore point (DESIGN 9, FORMAT 5.2).  Pure: from a list
 * to a chain, nothing is opened.  Bad files are never part of a chain, but the
 * range of their names is known to have existed.
 */
#ifndef PLAN_H
#define PLAN_H

#include <stdint.h>

#include "store.h"

struct plan {
	size_t *file;	/* indexes into the list, oldest first */
	size_t n;
	uint64_t txid;	/* what the chain ends in */
};

/*
 * The chain from nothing (from == 0) or on top of TXID from, to exactly TXID
 * to; to == 0 is the newest.  ERR_ABSENT: empty list, or no file ends in
 * that TXID and nothing is missing; ERR_DAMAGED: a gap or a bad file is in the
 * way, and the text names the missing range.
 */
int	plan_make(const struct store_list *l, uint64_t from, uint64_t to,
	    struct plan *p, struct err *e);
void	plan_free(struct plan *p);

/*
 * The restore points of the list: each TXID in which a good file ends, with the
 * earliest timestamp of those that end there, ascending.
 */
struct plan_point {
	uint64_t txid;
	int64_t timestamp_ms;
	bool in_run;	/* on the clock's own course (DESIGN 9) */
};
int	plan_points(const struct store_list *l, struct plan_point **p,
	    size_t *n);
/*
 * "The state at T": *txid.  ERR_ABSENT: T is before the first; ERR_DAMAGED:
 * the TXID after the chosen one lies in no file.  *doubt is set to a malloc'd
 * line that names the TXIDs whose stamps disagree with the run at T, or NULL.
 */
int	plan_at_time(const struct store_list *l, int64_t time_ms,
	    uint64_t *txid, char **doubt, struct err *e);

#endif
