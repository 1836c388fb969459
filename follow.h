/* SPDX-License-Identifier: ISC */
/*
 * A warm standby: restored once, then kept equal to the replica's newest
 * state.
 */
#ifndef FOLLOW_H
#define FOLLOW_H

#include <stdint.h>

#include "restore.h"
#include "util.h"

/*
 * Restores a->out if it is not there, else continues from OUT-txid; then
 * applies what is published until SIGINT or SIGTERM, and returns 0.  Looks at
 * the replica at least each interval_ms (<= 0: a second).  txid, force and time
 * of *a are not used.  ERR_ABSENT: nothing to restore, or the history that
 * OUT-txid needs has been pruned; ERR_FOREIGN: OUT is ahead of the replica.
 */
int	follow_run(const struct restore_args *a, int64_t interval_ms,
	    struct restore_result *res, struct err *e);

#endif
