/* SPDX-License-Identifier: ISC */
/*
 * When a replica was last verified, and how it went: ROOT/.verified, one line
 * of text, "TIME OUTCOME TXID".  It proves nothing; it is shown.
 */
#ifndef RECEIPT_H
#define RECEIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

enum receipt_outcome { RECEIPT_WHOLE, RECEIPT_UNKNOWN, RECEIPT_DAMAGED };

struct receipt {
	int64_t time_ms;	/* wall clock */
	uint64_t txid;		/* the newest that was proven; 0: none */
	enum receipt_outcome outcome;
};

/* With the owner and mode of root. */
int	receipt_write(const char *root, const struct receipt *r,
	    struct err *e);
/* False: there is none, or it cannot be understood. */
bool	receipt_read(const char *root, struct receipt *r);

#endif
