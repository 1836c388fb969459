/* SPDX-License-Identifier: ISC */
/* One replica file read to its proven end, without writing anything. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>

#include "pages.h"
#include "progress.h"
#include "store.h"
#include "util.h"

/*
 * Sets f's header.  *from is the page behind which the file has all pages up to
 * its commit size: 0 is a full image, whose fingerprint, if known, is checked.
 * With t, its pages are entered there, and t becomes the state at its end.
 * After a failure t is void.  ERR_DAMAGED; ERR_ABSENT: it has gone; others.
 */
int	check_read(const char *root, struct store_file *f, uint32_t *from,
	    struct pages *t, struct progress *g, struct err *e);
/* Whether t is what f, the last file that was read into it, says it ends in. */
int	check_state(const char *root, const struct store_file *f,
	    const struct pages *t, struct err *e);

#endif
