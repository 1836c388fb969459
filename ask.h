/* SPDX-License-Identifier: ISC */
/*
 * What is asked of a database of the fleet by a thread that waits until it is
 * done: at most so many seconds (ERR_BUSY then; it goes on by itself), or until
 * all are to end.  *r is how it stands then.
 */
#ifndef ASK_H
#define ASK_H

#include <stdint.h>

#include "fleet.h"
#include "util.h"

/* A pass that begins after the call.  ERR_LOCKED: it is stopped. */
int	ask_sync(struct fleet *f, const char *db_path, int64_t timeout_s,
	    struct fleet_report *r, struct err *e);
/* Publishes what is committed, and stops; it stays known. */
int	ask_stop(struct fleet *f, const char *db_path, int64_t timeout_s,
	    struct fleet_report *r, struct err *e);
/* The same, and forgets it: also one that has not ended in time, then. */
int	ask_forget(struct fleet *f, const char *db_path, int64_t timeout_s,
	    struct fleet_report *r, struct err *e);

#endif
