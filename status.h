/* SPDX-License-Identifier: ISC */
/*
 * How a database and its replica stand, seen from outside: by the status file,
 * the locks, the WAL and the files of the replica.  Nothing is changed, no
 * connection to the database is made.
 */
#ifndef STATUS_H
#define STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "receipt.h"
#include "state.h"
#include "util.h"

enum status_word {
	STATUS_OK,		/* every commit is in the replica */
	STATUS_STOPPED,		/* the same, and nobody replicates */
	STATUS_STARTING,	/* comparing, or making the first backup */
	STATUS_BEHIND,		/* the replica lacks commits */
	STATUS_UNKNOWN,		/* it cannot be told whether it does */
	STATUS_AWAY,		/* the replica is not mounted */
	STATUS_ERROR,
	STATUS_NO_DATABASE,
	STATUS_NOT_INITIALIZED	/* never replicated from here */
};

#define STATUS_MARKS 5		/* read marks of a wal-index */

struct status {
	enum status_word word;
	bool running;		/* somebody has the lock */
	int64_t pid;		/* who; 0: not known */
	struct state_facts f;	/* all zero: there are none */
	char *root;		/* NULL: not known */

	uint64_t wal_bytes;
	bool has_wal;
	long reader[STATUS_MARKS];	/* who reads the WAL; 0: nobody */

	/* Commits that the replica does not have; -1: not known. */
	int64_t lag_commits;
	bool lag_more;		/* at least so many */
	int64_t lag_ms;		/* age of the replica's newest; 0; -1 */

	uint64_t bytes;		/* of the replica */
	size_t files;
	uint64_t txid, snapshot_txid;	/* newest there; 0: none */
	int64_t txid_ms, snapshot_ms;
	bool verified;		/* and noted there: */
	struct receipt receipt;

	struct err why;		/* what is wrong now; or ERR_NONE */
};

struct status_args {
	const char *db, *root, *meta;	/* root, meta: NULL if not known */
	int64_t patience_ms;	/* for commits on their way */
	int64_t interval_ms;	/* so old the replica may be; else 0 */
};

void	status_take(const struct status_args *a, struct status *s);
void	status_free(struct status *s);
const char *status_name(enum status_word w);

#endif
