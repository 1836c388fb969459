/* SPDX-License-Identifier: ISC */
/* The page table against the database, a little at a time (DESIGN 10). */
#ifndef AUDIT_H
#define AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "capture.h"
#include "util.h"

struct audit {
	uint32_t next;		/* page to go on with; 0: not begun */
	uint64_t differed;	/* pages, since the process began */
};

/*
 * Compares for about 10 ms; *done: the last page was reached, and the next call
 * begins anew.  A page that differs from what the replica has is said, counted
 * and sent again.  Needs a pin and a position that has consumed everything;
 * where there is something new, it does nothing.
 */
int	audit_slice(struct audit *a, struct capture *c, bool *done,
	    struct err *e);

#endif
