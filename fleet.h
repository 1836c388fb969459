/* SPDX-License-Identifier: ISC */
/*
 * The databases of a process, which come and go while it runs.  All functions
 * may be called from any thread, but for fleet_new() and fleet_free(), and none
 * of them waits for a disk but fleet_add().
 */
#ifndef FLEET_H
#define FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "claims.h"
#include "job.h"
#include "levels.h"
#include "util.h"
#include "watch.h"

struct fleet;

/* room: how many databases there are descriptors for; the others wait.
 * A byte is written to note_fd when a database's thread has ended, or is about
 * to be long at work. */
struct fleet *fleet_new(struct watch *w, struct levels *l,
	    struct hooks *h, int note_fd, long room);
/* All have ended. */
void	fleet_free(struct fleet *f);

/* The database files that are open. */
struct claims *fleet_claims(struct fleet *f);

/* Starts one; cf and its paths are copied.  ERR_USAGE: it is there already,
 * under that name or another, or another has that replica; ERR_BUSY: all have
 * been asked to end. */
int	fleet_add(struct fleet *f, const struct job_config *cf,
	    struct err *e);
/* Asks one that was found in a directory to publish what is committed, and end;
 * false if it is not there, or is configured by its name. */
bool	fleet_remove(struct fleet *f, const char *db_path);
/* Whether one that was asked to has not ended yet. */
bool	fleet_is_leaving(struct fleet *f);
/* The paths of those that are known, malloc'd, as is each of them. */
char	**fleet_paths(struct fleet *f, size_t *n);

enum fleet_state {
	FLEET_RUNNING,
	FLEET_STOPPING,		/* asked to */
	FLEET_STOPPED,		/* it was asked to, or failed */
	FLEET_ENDING		/* as is the process */
};
struct fleet_report {
	char *path;
	enum fleet_state state;
	struct job_report job;	/* as it was, of one that is stopped */
};
/* How all of them stand, in no order; malloc'd. */
struct fleet_report *fleet_list(struct fleet *f, size_t *n);
void	fleet_list_free(struct fleet_report *l, size_t n);
/* How one stands; false: there is none.  Its path is NULL. */
bool	fleet_find(struct fleet *f, const char *db_path,
	    struct fleet_report *r);
/* Asks one for a pass. */
void	fleet_sync(struct fleet *f, const char *db_path);
/* Asks one to publish what is committed, and stop; it stays known.  False: it
 * does not run. */
bool	fleet_halt(struct fleet *f, const char *db_path);
/* How one that is stopped has ended: -1 if not all was published. */
int	fleet_outcome(struct fleet *f, const char *db_path, struct err *e);
/* Starts one that is stopped. */
int	fleet_restart(struct fleet *f, const char *db_path, struct err *e);
/* Forgets one, when it has stopped. */
void	fleet_forget(struct fleet *f, const char *db_path);

/* Hands the events of the watch on; true while any is at work: to be called
 * again within a second then. */
bool	fleet_wake(struct fleet *f);
/*
 * Forgets those that have ended; how many are left, also stopped.  *e, if it is
 * ERR_NONE, becomes the reason of one that was not asked to, nor started by
 * request.
 */
size_t	fleet_collect(struct fleet *f, struct err *e);
/* Asks all to end. */
void	fleet_stop(struct fleet *f);
/* Asks all to give up what takes long. */
void	fleet_cancel(struct fleet *f);

#endif
