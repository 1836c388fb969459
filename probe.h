/* SPDX-License-Identifier: ISC */
/* Whether replication would work: tried, and nothing left changed. */
#ifndef PROBE_H
#define PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "job.h"
#include "util.h"

enum probe_result { PROBE_OK, PROBE_WARNING, PROBE_FAILURE };

struct probe_line {
	enum probe_result result;
	char *text, *hint;	/* hint: NULL if there is none */
};

struct probe {
	struct probe_line *line;
	size_t n, cap;
	bool failed;
};

/* The machine, the same for all databases. */
void	probe_host(struct probe *p);
/* A database and its replica, as replicate would open them, in this order. */
void	probe_pair(struct probe *p, const struct pair_config *cf);
/* A failure that was met elsewhere. */
void	probe_error(struct probe *p, const struct err *e);
void	probe_free(struct probe *p);

#endif
