/* SPDX-License-Identifier: ISC */
/* Commands: the one that replicate -exec runs, and hooks. */
#ifndef EXEC_H
#define EXEC_H

#include <stddef.h>
#include <sys/types.h>

#include "util.h"

struct rlimit;

/*
 * Starts the command: words split as a shell would (quotes, backslashes), no
 * shell, no globbing.  Standard input is not connected.  ERR_USAGE: a quote
 * is not closed, or no word.  files: its limit of descriptors.
 */
int	exec_start(const char *command, const struct rlimit *files, pid_t *pid,
	    struct err *e);
/* The same by /bin/sh -c, with facts ("NAME=value") in its environment. */
int	exec_shell(const char *command, char *const *facts, size_t n_facts,
	    const struct rlimit *files, pid_t *pid, struct err *e);

#endif
