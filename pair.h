/* SPDX-License-Identifier: ISC */
/* A database and its replica, while they are open. */
#ifndef PAIR_H
#define PAIR_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "capture.h"
#include "disk.h"
#include "pages.h"
#include "state.h"
#include "util.h"

struct claims;
struct hooks;

struct pair_config {
	const char *db_path;	/* absolute */
	const char *root;	/* replica directory, absolute */
	const char *meta;	/* meta directory; NULL: beside the database */
	bool adopt;		/* continue another database's replica */
	int levels;		/* how many above level 0, without snapshots */
	struct hooks *hooks;	/* told of errors; or NULL */
	struct claims *claims;	/* of this process; NULL: there is one pair */
};

struct pair {
	struct pair_config cf;
	struct capture c;	/* c.db: NULL while closed */
	struct pages pages;
	struct state_facts facts;	/* as pair_tell() tells them next */

	/* Kept by pair.c. */
	const atomic_bool *cancel;
	char *meta, *pages_path;
	int meta_lock, root_lock;	/* held from the first open on */
	struct disk_stat root, parent;	/* dev and ino of the replica root */
	bool table_known, opened, root_deleted, comparing;
	bool claimed;		/* the database file */
	bool serving;		/* the first pass since it was opened is over */
	bool complete;		/* when last saved: all in the database file */

	/* For other threads, state for other processes, too. */
	struct state state;
	pthread_mutex_t mutex;
	struct db *open;	/* c.db, if it may be relieved */
	atomic_ulong steps;	/* goes up while it works and is not stuck */
	atomic_bool failing;	/* an error was told, and no success since */
};

/* cf's strings must outlive p; *cancel ends a long comparison. */
void	pair_init(struct pair *p, const struct pair_config *cf,
	    const atomic_bool *cancel);
/* Closes, and gives the locks back. */
void	pair_free(struct pair *p);
/* Gives the locks back before that, after pair_close(). */
void	pair_unlock(struct pair *p);

/*
 * Opens, and leaves a pin: the newest commit is in the replica then.  once:
 * the journal mode is left alone.  ERR_ABSENT: no database there; ERR_LOCKED;
 * ERR_FOREIGN; ERR_BUSY: database locked, or replica not mounted; others.
 * Close after a failure, too.
 */
int	pair_open(struct pair *p, bool once, struct err *e);
void	pair_close(struct pair *p);
/* Makes the meta directory anew, which was removed. */
int	pair_renew(struct pair *p, struct err *e);
/* Closes the chain by a full image of the database (DESIGN 8). */
int	pair_rebase(struct pair *p, const char *why, struct err *e);
/* Saves table and position; a failure is only logged: it is a cache. */
void	pair_save(struct pair *p);
/* A line for a pass that published something: reason "" if it went on where the
 * last one ended, else why it compared. */
void	pair_log_sync(const struct pair *p, const char *reason, int64_t ms);
/* Tells others how it stands; always: even if nothing but the moment of the
 * last pass is new.  The other: that it does not, and why. */
void	pair_tell(struct pair *p, enum state_word word, bool always);
void	pair_tell_error(struct pair *p, const struct err *e);
/*
 * From another thread, when p's is stuck.  Tells others, after so many ms, but
 * for the status file: this touches no disk.  And with the disk: lets go of the
 * WAL if that is about to fill the application's; writes the status file.
 */
void	pair_tell_stuck(struct pair *p, int64_t ms);
void	pair_relieve(struct pair *p);
/* Whether the replica has, by its names and headers, all that the newest state
 * takes. */
bool	pair_restorable(const struct pair *p);
/* Where the replica's path leads now. */
enum pair_root {
	PAIR_ROOT_SAME,
	PAIR_ROOT_OTHER,	/* elsewhere, or deleted: open anew */
	PAIR_ROOT_AWAY		/* its file system is not mounted: wait */
};
enum pair_root pair_root(const struct pair *p);

#endif
