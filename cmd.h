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
/* As restore and verify print it, for comparison: salt and fingerprint, or ""
 * where it is not known (salt 0). */
#define CMD_FINGERPRINT_SIZE 26
void	cmd_fingerprint(char buf[CMD_FINGERPRINT_SIZE], uint32_t salt,
	    uint64_t fingerprint);
/* status, unless what was printed did not arrive. */
int	cmd_check_stdout(int status);

#endif
