/* SPDX-License-Identifier: ISC */
/* What the replica holds against the live database, page by page. */
#ifndef COMPARE_H
#define COMPARE_H

#include <stdint.h>

#include "pages.h"
#include "util.h"

/*
 * t is the state at the newest TXID of the replica, and is rolled forward
 * while new files come.  0: it is, or was, the state of the database, at
 * t->txid.  ERR_DAMAGED: it differs although the database has not
 * changed since; ERR_BUSY: that cannot be told.  The database is opened as
 * replicate -once does, and left as it was.
 */
int	compare_db(const char *root, const char *db_path, struct pages *t,
	    struct err *e);

#endif
