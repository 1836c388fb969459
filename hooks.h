/* SPDX-License-Identifier: ISC */
/*
 * The commands on-error, on-recover and on-snapshot: run beside replication,
 * one at a time for each database, and 32 in all.
 */
#ifndef HOOKS_H
#define HOOKS_H

#include <stdint.h>

#include "config.h"
#include "util.h"

enum hooks_event { HOOKS_ERROR, HOOKS_RECOVER, HOOKS_SNAPSHOT, HOOKS_EVENTS };

struct hooks;

/* Of c, which must outlive it; NULL if it has none.  A byte is written to
 * note_fd when hooks_run() has something to do.  files: what is run may have
 * as many descriptors. */
struct rlimit;
struct hooks *hooks_new(const struct config *c, const struct rlimit *files,
	    int note_fd);
/* What still runs goes on by itself. */
void	hooks_free(struct hooks *h);
/* For any thread, and never waits; h may be NULL.  Of the same event of the
 * same database that is still to come, the later one counts. */
void	hooks_post(struct hooks *h, enum hooks_event event, const char *db,
	    const char *replica, const char *error, uint64_t txid);
/* The main thread's: notes which have ended, begins what can be. */
void	hooks_run(struct hooks *h);

#endif
