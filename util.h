/* SPDX-License-Identifier: ISC */
/* Errors, log lines, memory, time and text: what every module may use.  Log
 * lines and text are in headers of their own. */
#ifndef UTIL_H
#define UTIL_H

#include <sys/resource.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"
#include "text.h"

/*
 * One error, filled once by whoever detects it.  The text is one line that
 * names the path; the hint, if any, is what the reader can do about it.
 */
enum err_kind {
	ERR_NONE,
	ERR_SYSTEM,	/* a call failed: code is its errno */
	ERR_USAGE,	/* wrong command line or configuration */
	ERR_ABSENT,	/* what was asked for is not there */
	ERR_DAMAGED,	/* bytes that are not what they must be */
	ERR_LOCKED,	/* held by another process */
	ERR_FOREIGN,	/* belongs to another database */
	ERR_BUSY,	/* try again */
	ERR_AWAY,	/* its file system is not mounted */
	ERR_FULL	/* no space left: code is ENOSPC or EDQUOT */
};

struct err {
	enum err_kind kind;
	int code;
	char text[1024];
	char hint[256];
};

/* Fill *e; both return -1, so that a caller can return what they return.  Bytes
 * that are no printable UTF-8 become \xNN, in the hint, too. */
int	err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));
/* "PATH: WHAT: strerror(errno)"; kind is ERR_FULL, ERR_ABSENT (ENOENT) or
 * ERR_SYSTEM. */
int	err_sys(struct err *e, const char *path, const char *what);
void	err_hint(struct err *e, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));

/* Memory: out of memory ends the process with a message, status 1. */
void	*xmalloc(size_t n);
void	*xcalloc(size_t n, size_t size);
void	*xrealloc(void *p, size_t n);
/* Room for one more: doubles *cap when n == *cap. */
void	*xgrow(void *p, size_t n, size_t *cap, size_t size);
char	*xstrdup(const char *s);
char	*xasprintf(const char *fmt, ...)
	    __attribute__((format(printf, 1, 2)));

/* Milliseconds: since 1970 (the wall clock); since boot (never set back). */
int64_t	time_wall_ms(void);
int64_t	time_mono_ms(void);
void	sleep_ms(int64_t ms);

/* As many descriptors as may be had; false if that is no more than before.
 * was: the limit so far, or NULL. */
bool	raise_descriptors(struct rlimit *was);
/* RFC 3339 UTC with seconds, "2026-04-24T12:00:00Z", or milliseconds. */
char	*time_text(char buf[TEXT_SIZE], int64_t ms, bool with_ms);
/* RFC 3339 with zone, fractions accepted, to ms; -1 if it is not one. */
int	time_parse(const char *s, int64_t *ms);
/* Go duration ("1h30m", "1.5s", "250ms", "0") to ms; -1 if it is not one. */
int	duration_parse(const char *s, int64_t *ms);

/* Absolute, cleaned path (no symbolic links followed), malloc'd; "~/" is
 * the home directory.  As given where the current directory has no path. */
char	*path_abs(const char *path);
/* Directory part, malloc'd: "." where there is none. */
char	*path_dir(const char *path);
const char *path_base(const char *path);

/* Random bytes from the system; never fails. */
void	random_bytes(void *p, size_t n);
/* What names the time since the machine was started, "" where there is none. */
#define BOOT_ID_SIZE 64
void	boot_id(char id[BOOT_ID_SIZE]);

#endif
