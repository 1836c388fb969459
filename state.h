/* SPDX-License-Identifier: ISC */
/*
 * What a replicator tells others of one database: in memory for the threads of
 * its process, and in a small file of the meta directory for everybody else,
 * who can also ask there for one more pass.
 */
#ifndef STATE_H
#define STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "disk.h"
#include "util.h"
#include "wal.h"

#define STATE_SIZE 1024		/* of the file, always */
#define STATE_TEXT_SIZE 240
#define STATE_LEVELS_SIZE 120

enum state_word {
	STATE_STARTING,		/* first pass: comparing, first backup */
	STATE_OK,		/* the last pass succeeded */
	STATE_WAITING,		/* there is no database */
	STATE_AWAY,		/* the replica is not mounted */
	STATE_ERROR,		/* trying again; or ended so */
	STATE_STOPPED		/* ended with everything in the replica */
};

struct state_facts {
	enum state_word word;
	int64_t since_ms;	/* has been that word; wall clock */
	int64_t pid, started_ms;
	char boot[BOOT_ID_SIZE];
	int64_t pass_ms;	/* when the last pass that succeeded began,
				 * time_mono_ms() in that boot; 0: none did */
	uint64_t txid;		/* newest in the replica; 0: none */
	int64_t txid_ms;	/* its timestamp */
	/* Published are all commits up to here, if this is known. */
	uint32_t known;
	struct wal_pos wal;
	/* When all that was committed was published and in the database file,
	 * that looked like this. */
	uint32_t complete;
	struct disk_stat db;
	int64_t audit_ms;	/* last complete audit, wall clock; 0: none */
	uint64_t differed;	/* pages that audits found different */
	int64_t error_ms;	/* since when there was the last error; 0 */
	char levels[STATE_LEVELS_SIZE];	/* what holds these up; "": nothing */
	char root[STATE_TEXT_SIZE];	/* replica; "": too long to tell */
	char error[STATE_TEXT_SIZE];	/* the last one, also when over */
};

/* Since it was started; each for any thread at any time. */
enum state_counter {
	STATE_SYNCS, STATE_SYNC_ERRORS, STATE_SYNC_MS,
	STATE_PASSIVES, STATE_PASSIVE_ERRORS, STATE_PASSIVE_MS,
	STATE_TRUNCATES, STATE_TRUNCATE_ERRORS, STATE_TRUNCATE_MS,
	STATE_WAL_BYTES,	/* consumed */
	STATE_WAL_SIZE,		/* of what is consumed of the WAL there is */
	STATE_DB_SIZE, STATE_DISK_FULL,
	STATE_FILES, STATE_BYTES,	/* published at level 0 */
	STATE_COUNTERS
};

struct state {
	char *path;
	pthread_mutex_t mutex;
	struct state_facts f;
	_Atomic uint64_t count[STATE_COUNTERS];

	/* Of who writes the file, which may take long. */
	pthread_mutex_t writing;
	struct disk_owner owner;
	bool claimed, failed;
	char written[STATE_SIZE];
	int64_t written_pass_ms, touched_ns;
};

void	state_init(struct state *s, const char *meta);
void	state_free(struct state *s);
/* From here on the file is written: the caller has the lock of the meta
 * directory.  Owner and mode as o says.  What a former replicator has left that
 * still says something goes into *f, and *f is told. */
void	state_claim(struct state *s, const struct disk_owner *o,
	    struct state_facts *f);
/* The new facts.  They are written if more than pass_ms has changed, or always;
 * a failure is only logged, once.  For any thread. */
void	state_set(struct state *s, const struct state_facts *f, bool always);
/* The same in two steps, of which the first touches no disk. */
void	state_note(struct state *s, const struct state_facts *f);
void	state_flush(struct state *s, bool always);
/* Whether the file, or its directory, was removed. */
bool	state_is_lost(const struct state *s);
/* Whether somebody has asked since: write the outcome of the next pass. */
bool	state_asked(struct state *s);
/* For any thread. */
void	state_get(struct state *s, struct state_facts *f);

/* For any process. */
/* The meta directory of a database, where no other is given; malloc'd. */
char	*state_meta(const char *db_path);
/* The file of a meta directory; malloc'd. */
char	*state_path(const char *meta);
/* Whether a replicator has the lock of a directory: 1, with its pid (0: not
 * known); 0; -1. */
int	state_running(const char *dir, long *pid, struct err *e);
/* 1; 0 if there is none, or it is not one (or half of it is written: read it
 * again); -1. */
int	state_read(const char *path, struct state_facts *f, struct err *e);
/* What a file of STATE_SIZE bytes says; buf has one more, is taken apart. */
bool	state_parse(char buf[STATE_SIZE + 1], struct state_facts *f);
/* Asks the replicator for a pass, whether or not anything was committed. */
int	state_ask(const char *path, struct err *e);
/* "ok" and so on. */
const char *state_name(enum state_word w);

#endif
