/* SPDX-License-Identifier: ISC */
/*
 * The live database as it is at one commit, page by page, while a pin is held
 * and writers go on.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdint.h>

#include "db.h"
#include "util.h"
#include "wal.h"

struct image {
	struct db *db;
	uint32_t page_size, commit;
	struct wal_pos end;	/* the commit: frames consumed are these */
	uint32_t next;		/* page that image_next() gives next */
	struct wal *wal;	/* NULL: all is in the database file */
	struct wal_map map;
	size_t at;
};

/*
 * Fixes the commit: the newest one.  Needs a pin, which may be exchanged for
 * another (SQLite recovers a torn index when one begins).  ERR_DAMAGED: WAL and
 * index contradict each other; ERR_ABSENT: no pages yet; ERR_BUSY.
 */
int	image_take(struct image *m, struct db *db, struct err *e);
/* The next page, 1 .. commit without the lock page, into page: 1; 0 after the
 * last; -1. */
int	image_next(struct image *m, uint32_t *pgno, uint8_t *page,
	    struct err *e);
/* Begins again at page 1, of the same commit. */
void	image_rewind(struct image *m);
void	image_close(struct image *m);

#endif
