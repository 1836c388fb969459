/* SPDX-License-Identifier: ISC */
/* The thread that does levels, snapshots and retention for all databases. */
#ifndef LEVELS_H
#define LEVELS_H

#include <stdbool.h>

#include "compact.h"
#include "util.h"

struct hooks;
struct levels;
struct levels_entry;

/* hooks: told of snapshots; or NULL. */
struct levels *levels_start(struct hooks *hooks, struct err *e);
/*
 * Interrupts what it is at, and ends: true, and l is gone.  False: it takes
 * longer; ask again, or end the process with all locks held (what was not
 * published is swept at the next start).
 */
bool	levels_stop(struct levels *l, int64_t timeout_ms);

/*
 * One replica; c (copied) as compact_init() and the configuration made it.  It
 * rests until it is resumed.
 */
struct levels_entry *levels_add(struct levels *l, const struct compact *c);
/*
 * Before the replica is opened, closed by a full image, or given up: interrupts
 * what is done there, and keeps it so.
 */
void	levels_suspend(struct levels_entry *n);
void	levels_resume(struct levels_entry *n);
/* Interrupts what is done there, and forgets it; NULL is fine. */
void	levels_remove(struct levels_entry *n);
/* Something was published. */
void	levels_note(struct levels_entry *n);
/* What keeps the levels from going on; "": nothing. */
void	levels_error(struct levels_entry *n, char *text, size_t size);
/* Whether the chain must be closed by a full image, and why (static size of
 * why: 256); asking clears it. */
bool	levels_wants_rebase(struct levels_entry *n, char *why, size_t size);

#endif
