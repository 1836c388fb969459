/* SPDX-License-Identifier: ISC */
/* Whether the database file was written by anything but checkpoints. */
#ifndef INTACT_H
#define INTACT_H

#include <stdbool.h>

#include "db.h"
#include "disk.h"
#include "wal.h"

struct intact {		/* all zero: nothing is known */
	bool known;
	struct disk_stat file;
	struct wal_index x;
};

/* Notes what the file and the progress of checkpoints look like: after a pass
 * or checkpoint of ours, with the pin that is held until it is asked. */
void	intact_note(struct intact *t, struct db *db, const char *path);
/*
 * Whether the file has changed since although no checkpoint has: somebody
 * copied another one over it.  Never a false alarm while a checkpoint runs.
 */
bool	intact_broken(const struct intact *t, struct db *db,
	    const char *path);

#endif
