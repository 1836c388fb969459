/* SPDX-License-Identifier: ISC */
/* What all commands share: how they fail, and how they end. */
#ifndef CMD_H
#define CMD_H

#include "util.h"

#define CMD_VERSION "v0.1.0"

enum cmd_status {
	CMD_OK,
	CMD_FAILED,
	CMD_USAGE,
	CMD_ABSENT,	/* nothing to restore there */
	CMD_DAMAGED,	/* the replica is */
	CMD_LOCKED,	/* by another process */
	CMD_FOREIGN	/* the replica of another database */
};

/* Prints Error: and Try: on stderr; the exit status for that kind. */
int	cmd_fail(const struct err *e);
/* The same for a wrong command line; hint may be NULL. */
int	cmd_usage(const char *hint, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));
/* status, unless what was printed did not arrive. */
int	cmd_check_stdout(int status);

#endif
