/* SPDX-License-Identifier: ISC */
/*
 * The control socket, and the listener for metrics: threads of their own that
 * answer for the databases of the process.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "config.h"
#include "fleet.h"

struct control;

/* What c (NULL: nothing) asks for; NULL if that is neither.  What cannot be
 * listened on is only logged.  All must outlive it. */
struct control *control_start(const struct config *c, struct fleet *f,
	    const char *version);
/* After fleet_stop(): what waits for a database gives up.  NULL is fine. */
void	control_stop(struct control *c);

#endif
