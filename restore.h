/* SPDX-License-Identifier: ISC */
/* A restore point written as a database file (DESIGN 9). */
#ifndef RESTORE_H
#define RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "plan.h"
#include "store.h"
#include "util.h"

enum restore_check { RESTORE_CHECK_NONE, RESTORE_CHECK_QUICK,
    RESTORE_CHECK_FULL };

struct restore_args {
	const char *root;	/* replica directory */
	const char *out;	/* database to write; NULL: into fd instead, */
	int fd;			/* a file without a name */
	uint64_t txid;		/* 0: the newest, or time_ms */
	int64_t time_ms;	/* with has_time */
	bool has_time;
	bool force;		/* replace an existing database */
	bool progress;		/* a line on stderr, if that is a terminal */
	enum restore_check check;
};

struct restore_result {
	uint64_t txid;		/* 0: data of Litestream 0.3 */
	int64_t timestamp_ms;
	uint32_t commit, page_size;
	bool proven;		/* fingerprint known, and right */
	uint32_t salt;		/* of the fingerprint; 0: not known */
	uint64_t fingerprint;
};

/*
 * Writes out, or leaves what was there.  ERR_ABSENT: nothing to restore at
 * that point; ERR_DAMAGED: the replica cannot give it; ERR_USAGE: out exists
 * (with upstream's text).
 */
int	restore_run(const struct restore_args *a, struct restore_result *res,
	    struct err *e);
/* The list and chain that restore_run() would begin with. */
int	restore_plan(const struct restore_args *a, struct store_list *l,
	    struct plan *p, struct err *e);

#endif
