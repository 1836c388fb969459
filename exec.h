/* SPDX-License-Identifier: ISC */
/* The command that replicate -exec runs. */
#ifndef EXEC_H
#define EXEC_H

#include <sys/types.h>

#include "util.h"

/*
 * Starts the command: words split as a shell would (quotes, backslashes), no
 * shell, no globbing.  Standard input is not connected.  ERR_USAGE: a quote
 * is not closed, or no word.  files: its limit of descriptors.
 */
int	exec_start(const char *command, const struct rlimit *files, pid_t *pid,
	    struct err *e);

#endif
