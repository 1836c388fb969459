/* SPDX-License-Identifier: ISC */
/* What can be restored.  Pure, as plan.h. */
#ifndef POINTS_H
#define POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

struct point {
	uint64_t txid;
	int64_t timestamp_ms;
	bool by_time;		/* a time can mean it (DESIGN 9) */
	bool restorable;	/* there is a plan */
	unsigned levels;	/* a bit for each with a file that ends here */
};

/* Each TXID in which a good file ends, ascending; malloc'd. */
void	points_make(const struct store_list *l, struct point **p, size_t *n);

#endif
