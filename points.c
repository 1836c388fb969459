/* SPDX-License-Identifier: ISC */
/*
 * What can be restored.
 *
 * A point has a plan if a file that ends there begins at TXID 1, or not past
 * the TXID after another point, below, that has a plan.  Of those only the
 * highest matters.  So one walk in the order of the ends answers for all points
 * what plan_make() would say of each.
 */
#include <stdlib.h>

#include "plan.h"
#include "points.h"

static int
by_end(const void *pa, const void *pb)
{
	const struct store_file *a = *(const struct store_file *const *)pa;
	const struct store_file *b = *(const struct store_file *const *)pb;

	return (a->max_txid > b->max_txid) - (a->max_txid < b->max_txid);
}

static size_t
good_files(const struct store_list *l, const struct store_file **f)
{
	size_t i, n = 0;

	for (i = 0; i < l->n; i++)
		if (!l->file[i].bad && l->file[i].min_txid != 0 &&
		    l->file[i].min_txid <= l->file[i].max_txid)
			f[n++] = &l->file[i];
	qsort(f, n, sizeof(*f), by_end);
	return n;
}

void
points_make(const struct store_list *l, struct point **out, size_t *n)
{
	const struct store_file **f = xcalloc(l->n + 1, sizeof(*f));
	struct plan_point *from = NULL;
	struct point *p;
	size_t i, k = 0, files = good_files(l, f);
	uint64_t reached = 0;

	plan_points(l, &from, n);
	p = xcalloc(*n + 1, sizeof(*p));
	for (i = 0; i < *n; i++) {
		p[i].txid = from[i].txid;
		p[i].timestamp_ms = from[i].timestamp_ms;
		p[i].by_time = from[i].in_run;
		for (; k < files && f[k]->max_txid == p[i].txid; k++) {
			p[i].levels |= 1u << f[k]->level;
			if (f[k]->min_txid - 1 <= reached)
				p[i].restorable = true;
		}
		if (p[i].restorable)
			reached = p[i].txid;
	}
	free(from);
	free(f);
	*out = p;
}
