/* SPDX-License-Identifier: ISC */
/* What all commands share: how they fail, and how they end. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"

static int
status_of(enum err_kind kind)
{
	switch (kind) {
	case ERR_NONE:
		return CMD_OK;
	case ERR_USAGE:
		return CMD_USAGE;
	case ERR_ABSENT:
		return CMD_ABSENT;
	case ERR_DAMAGED:
		return CMD_DAMAGED;
	case ERR_LOCKED:
		return CMD_LOCKED;
	case ERR_FOREIGN:
		return CMD_FOREIGN;
	case ERR_SYSTEM:
	case ERR_BUSY:
	case ERR_AWAY:
	case ERR_FULL:
		break;
	}
	return CMD_FAILED;
}

int
cmd_fail(const struct err *e)
{
	fflush(stdout);
	fprintf(stderr, "Error: %s\n", e->text);
	if (e->hint[0] != '\0')
		fprintf(stderr, "Try: %s\n", e->hint);
	return status_of(e->kind);
}

int
cmd_usage(const char *hint, const char *fmt, ...)
{
	struct err e;
	char text[sizeof(e.text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(&e, ERR_USAGE, "%s", text);
	if (hint != NULL)
		err_hint(&e, "%s", hint);
	return cmd_fail(&e);
}

void
cmd_fingerprint(char buf[CMD_FINGERPRINT_SIZE], uint32_t salt,
    uint64_t fingerprint)
{
	buf[0] = '\0';
	if (salt != 0)
		snprintf(buf, CMD_FINGERPRINT_SIZE, "%08" PRIx32 "-%016" PRIx64,
		    salt, fingerprint);
}

int
cmd_check_stdout(int status)
{
	struct err e;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	err_sys(&e, "standard output", "write");
	e.kind = ERR_SYSTEM;
	cmd_fail(&e);
	return status != CMD_OK ? status : CMD_FAILED;
}
