/* SPDX-License-Identifier: ISC */
/* The databases that a command which only looks is about. */
#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

struct target {
	char *db;		/* absolute */
	char *root, *meta;	/* NULL: by default; root: not known */
	int64_t sync_interval_ms;	/* -1: by load */
};

struct targets {
	struct target *t;
	size_t n, cap;
};

/*
 * From n operands: none, all of the configuration; DB, that one of it, or, with
 * no -config (config ""), any; DB URL, no configuration.  ERR_USAGE.
 */
int	target_load(struct targets *l, int n, char **operand,
	    const char *config, bool expand_env, struct err *e);
void	target_free(struct targets *l);

#endif
