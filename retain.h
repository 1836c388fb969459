/* SPDX-License-Identifier: ISC */
/* Which files may go, and whether the clock may be asked. */
#ifndef RETAIN_H
#define RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"
#include "store.h"
#include "util.h"

#define RETAIN_TOLERANCE_MS 60000	/* clocks that differ by less agree */

/* The promise: every instant of the last keep_ms before now_ms. */
struct retain_rule {
	int64_t now_ms, keep_ms;
	int64_t l0_ms;		/* level 0 goes at this age; < 0: never */
	int64_t future_ms;	/* age of files with a stamp after now */
	size_t floor;		/* so many snapshots stay in any case */
	int levels;		/* in use, but for 0 and 9 */
};

/*
 * Sets go[i] (zeroed by the caller) for each l->file[i] that the promise does
 * not need.  *base is the snapshot that the window begins with: it must be
 * proven before anything above level 0 goes; NULL: nothing of that goes.
 * Files of level 0 go only if inside a file of level 1, which must be proven.
 * Whatever TXID a remaining file ends in can be restored, if it could before.
 */
void	retain_choose(const struct retain_rule *r,
	    const struct store_list *l, bool *go,
	    const struct store_file **base);
/* can[i]: whether the state in which l->file[i] ends can be restored from the
 * good files that are not marked; go NULL: none is. */
void	retain_reach(const struct store_list *l, const bool *go, bool *can);
/* How old the file is, at least. */
int64_t	retain_age(const struct retain_rule *r, const struct store_file *f);

/* For how long the wall clock has agreed with the time since boot. */
struct retain_clock {
	bool known;
	int64_t wall_ms, mono_ms;	/* the last look */
	int64_t trusted_ms;
	int64_t saved_ms;		/* since boot */
	char boot[BOOT_ID_SIZE];	/* which; or "" */
};

/*
 * Looks at the clocks, and keeps what they say in ROOT/.clock for the next
 * process: at once if the wall clock was set, else at most once per minute and
 * keep_ms / 24.  After a failure nothing must be deleted.
 */
int	retain_look(struct retain_clock *c, const char *root,
	    const struct disk_owner *o, int64_t wall_ms, int64_t mono_ms,
	    int64_t keep_ms, struct err *e);

#endif
