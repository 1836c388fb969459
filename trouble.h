/* SPDX-License-Identifier: ISC */
/* An error that lasts: when it is said, and when to try again. */
#ifndef TROUBLE_H
#define TROUBLE_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

struct trouble {	/* all zero: none */
	struct err e;	/* ERR_NONE: none */
	bool said;
	int64_t since_ms, said_ms, retry_ms;
};

/* Notes e, which took took_ms to happen; says it where due.  How long to wait
 * before the next attempt. */
int64_t	trouble_met(struct trouble *t, const char *db_path,
	    const struct err *e, int64_t took_ms);
/* It works (again). */
void	trouble_over(struct trouble *t, const char *db_path, uint64_t txid);

#endif
