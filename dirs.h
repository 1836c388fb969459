/* SPDX-License-Identifier: ISC */
/* The directories of a configuration whose databases come and go. */
#ifndef DIRS_H
#define DIRS_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "fleet.h"
#include "util.h"

struct dirs;

/*
 * Watches those of c: adds to f what is new, and removes what has gone.  Both
 * must outlive it.  0; *d is NULL if there is none; -1.
 */
int	dirs_start(struct dirs **d, const struct config *c, struct fleet *f,
	    struct err *e);
/* True: it has ended, and d is gone.  False: a directory does not answer, and
 * what was given to dirs_start() is still used. */
bool	dirs_stop(struct dirs *d, int64_t timeout_ms);

#endif
