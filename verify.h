/* SPDX-License-Identifier: ISC */
/* Whether a replica is whole (DESIGN 10): nothing is written. */
#ifndef VERIFY_H
#define VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "points.h"
#include "store.h"
#include "util.h"

struct verify_args {
	const char *root;
	const char *db;		/* compare with this live database; or NULL */
	bool full;		/* restore, and have SQLite check it */
	int64_t max_age_ms;	/* of the newest point; -1: any */
	bool progress;
};

struct verify_file {
	struct store_file f;
	bool read;		/* to its end, or why is set */
	uint32_t from;		/* it has all pages behind this one */
	char *why;		/* what is wrong with it; NULL: proven */
};

/* TXIDs that no file of a level has, between others. */
struct verify_gap {
	int level;
	uint64_t min_txid, max_txid;
	bool closed;		/* by a full image behind it: harmless */
};

struct verify_report {
	struct verify_file *file;	/* by level, min_txid, max_txid */
	size_t n;
	struct verify_gap *gap;
	size_t gaps, gap_cap;
	struct point *point;
	size_t points;
	size_t links, unknown_links;	/* between neighbours, proven or not */
	char **problem;		/* damage that is not one file's */
	size_t problems, problem_cap;
	char **note;		/* worth knowing */
	size_t notes, note_cap;

	/* The newest point, if all of it is proven. */
	uint64_t txid;
	int64_t timestamp_ms;
	uint32_t commit, page_size;
	uint32_t salt;		/* 0: its fingerprint is not known */
	uint64_t fingerprint;

	bool damaged, checked;
	bool same_as_db;	/* at db_txid, the newest or one since */
	uint64_t db_txid;
	struct err unsure;	/* what could not be told; or ERR_NONE */
};

/*
 * 0: r says what is there.  -1: nothing can be said (ERR_ABSENT: there is
 * nothing).  Memory is that of the list, and 8 bytes per page.
 */
int	verify_run(const struct verify_args *a, struct verify_report *r,
	    struct err *e);
void	verify_free(struct verify_report *r);

#endif
