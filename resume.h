/* SPDX-License-Identifier: ISC */
/*
 * What a start finds: the page table, brought to where the replica ends, and
 * whether the replica is this database's.
 */
#ifndef RESUME_H
#define RESUME_H

#include <stdbool.h>
#include <stdint.h>

#include "pages.h"
#include "store.h"
#include "util.h"

struct resume {
	/* Set by the caller. */
	const char *root;	/* replica directory */
	const char *db_path;	/* absolute, as the user names it */
	const char *meta;	/* meta directory */
	uint32_t page_size;	/* of the database */
	bool adopt;		/* the user says that the replica is ours */
	bool ours;		/* this process has written there before */

	/* The answer. */
	uint64_t next_txid;
	bool empty;		/* no files: this is the first backup */
	bool same_end;		/* the replica ends where the saved table did:
				 * nothing was rolled forward */
	char rebase[256];	/* why the chain cannot be continued, or "" */
	bool stranger;		/* ours only if most pages are the same */
	struct store_file *aside;	/* damaged files, for resume_claim() */
	size_t n_aside, cap_aside;
};

/*
 * Makes t (as loaded, or empty) the state at the newest TXID of the replica, or
 * says that a rebase is needed (then t is cleared, and next_txid is past
 * everything).  Damaged files on the way are noted.
 */
int	resume_table(struct resume *r, struct pages *t, struct err *e);
/*
 * Whether the replica is this database's: ERR_FOREIGN, or sets stranger where
 * only the pages can tell.
 */
int	resume_identity(struct resume *r, const struct pages *t,
	    struct err *e);
/* Notes that it is, in ROOT and in t; sets damaged files aside (NAME.damaged),
 * removes another writer's local copies. */
int	resume_claim(const struct resume *r, struct pages *t,
	    const struct disk_owner *o, struct err *e);
/* The local copies of another writer, which it would upload over our files. */
int	resume_drop_copies(const char *meta, struct err *e);
void	resume_free(struct resume *r);
/* Where the replica root is: for telling a deleted one from one not mounted. */
int	resume_locate(const char *path, uint64_t *dev, uint64_t *fsid,
	    struct err *e);

#endif
