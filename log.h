/* SPDX-License-Identifier: ISC */
/*
 * Log lines in upstream's forms (Go's slog):
 *	time=2026-01-02T03:04:05.000Z level=INFO msg="..." key=value
 *	{"time":"...","level":"INFO","msg":"...","key":"value"}
 * Keys and values alternate and end with NULL.  Lines below the level that
 * log_set_level() set are dropped.  Thread-safe.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Name in any case; unknown is INFO, as upstream. */
void	log_set_level(const char *name);
/* JSON instead of text; there, what looks like a number is one. */
void	log_as_json(void);
/* Where lines go: stdout unless this was called. */
void	log_to_stderr(void);
bool	log_enabled(enum log_level level);
void	log_line(enum log_level level, const char *msg, ...)
	    __attribute__((sentinel));

#endif
