/* SPDX-License-Identifier: ISC */
/* Full images of the live database in the replica. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "db.h"
#include "emit.h"
#include "util.h"
#include "wal.h"

/* After the first backup, level 0 TXID 1: shows it at level 9 too. */
int	snapshot_link_first(const struct emit *em, struct err *e);
/*
 * Closes a chain that cannot be continued: a full image at em->next_txid, at
 * level 9, then at levels .. 1, then 0.  The table is made anew: on success it
 * is that image, and *pos the commit that it was taken at.  Needs a pin.
 * After a failure the TXID is spent.
 */
int	snapshot_rebase(struct emit *em, struct db *db, int levels,
	    struct wal_pos *pos, struct err *e);

#endif
