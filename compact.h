/* SPDX-License-Identifier: ISC */
/*
 * Levels, snapshots and retention of one replica (DESIGN 8).  Works on replica
 * files alone.  Time is given by the caller: wall clock and time since boot.
 */
#ifndef COMPACT_H
#define COMPACT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "disk.h"
#include "pass.h"
#include "retain.h"
#include "store.h"
#include "util.h"

#define COMPACT_MAX_LEVEL 8

struct compact {
	/* Set by the caller, after compact_init() gave the defaults. */
	const char *root;		/* replica directory */
	const char *db;			/* for log lines; or NULL */
	struct disk_owner owner;
	const atomic_bool *cancel;	/* ends a merge: ERR_BUSY; or NULL */
	_Atomic uint64_t *count;	/* of PASS_COUNTERS; or NULL */
	int levels;			/* 1..levels are in use */
	int64_t interval_ms[COMPACT_MAX_LEVEL + 1];
	int64_t snapshot_interval_ms, snapshot_retention_ms;
	int64_t l0_retention_ms;	/* 0: level 0 is never deleted */
	int64_t l0_check_ms;
	int64_t validation_ms;		/* look for gaps so often; 0: never */
	bool retention;			/* may delete at all */

	/*
	 * Set when a chain cannot be continued: whoever has the live database
	 * must close it by a full image, and then clear this.
	 */
	bool need_rebase;
	char why[1024];
	uint64_t snapshot_txid;	/* of the last snapshot written; 0: none */

	/* Private. */
	bool started;
	int64_t due_ms[STORE_LEVELS];	/* since boot; 0: L0 retention */
	int64_t validation_due_ms;	/* -1: never */
	struct retain_clock clock;
	struct pass_proofs proofs;
};

/* Upstream's defaults: 30s 5m 1h; snapshots each 24h for 24h; L0 5m, 15s. */
void	compact_init(struct compact *c, const char *root,
	    const struct disk_owner *o);

/*
 * Does what is due.  Call it at the start, when *next_due_ms (since boot) has
 * come, and after files were published; a call before anything is due looks at
 * no file.  -1 in *next_due_ms: nothing will be due until something is
 * published; it is valid also after a failure.  The caller keeps this, a
 * rebase, and whatever else writes above level 0 apart.
 */
int	compact_run(struct compact *c, int64_t wall_ms, int64_t mono_ms,
	    int64_t *next_due_ms, struct err *e);
/* Whether something new would make anything due that is not yet: else a call
 * after a publication can wait for *next_due_ms. */
bool	compact_waits(const struct compact *c);
/* A level 9 file at the newest TXID, now. */
int	compact_snapshot(struct compact *c, struct err *e);
/* Retention of all levels, now. */
int	compact_retention(struct compact *c, int64_t wall_ms,
	    int64_t mono_ms, struct err *e);

#endif
