/* SPDX-License-Identifier: ISC */
/* The replicate process: databases, signals, the child. */
#ifndef REPLICATE_H
#define REPLICATE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "job.h"
#include "util.h"

struct replicate_args {
	struct job_config *job;	/* one for each database */
	size_t n;
	int64_t stop_timeout_ms;
	const char *exec;	/* NULL: none */
	const char *version;	/* to be told */
	const struct config *config;	/* for directories to watch; or NULL */
	bool force_snapshot;	/* replicate_once() */
	bool enforce_retention;
};

/* Restores the databases that are absent and whose replicas have one. */
int	replicate_restore(const struct replicate_args *a, struct err *e);
/*
 * One pass over each: everything committed before the call is in the replica
 * after.
 */
int	replicate_once(const struct replicate_args *a, struct err *e);
/*
 * Until SIGINT, SIGTERM or the end of the child.  0 with *status: 0, or what
 * the child exited with (128 + signal); -1 with *e.
 */
int	replicate_run(const struct replicate_args *a, int *status,
	    struct err *e);

#endif
