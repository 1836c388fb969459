/* SPDX-License-Identifier: ISC */
/* Replicas of Litestream 0.3, read only: snapshots and pieces of WAL. */
#ifndef V3_H
#define V3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "output.h"
#include "store.h"
#include "util.h"

struct v3_file;

/* A snapshot and the WAL that follows it. */
struct v3_choice {
	char *dir;		/* of the generation */
	struct v3_file *file;	/* the snapshot, then the WAL in order */
	size_t n;
	int64_t time_ms;	/* of its newest file */
};

/*
 * What of 0.3 under root is the newest state, or that at time_ms: 1; 0 if there
 * is none, or the files in l have a later one; -1.
 */
int	v3_choose(const char *root, const struct store_list *l,
	    bool has_time, int64_t time_ms, struct v3_choice *c,
	    struct err *e);
/* Writes it, but for the publication.  ERR_DAMAGED. */
int	v3_restore(const struct v3_choice *c, struct output *o,
	    struct err *e);
void	v3_free(struct v3_choice *c);

#endif
