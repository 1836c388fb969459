/* SPDX-License-Identifier: ISC */
/* The thread that keeps one database in its replica. */
#ifndef JOB_H
#define JOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compact.h"
#include "levels.h"
#include "pair.h"
#include "util.h"
#include "watch.h"

struct job_config {
	struct pair_config pair;
	struct compact levels;	/* without root, db and owner */
	int64_t audit_interval_ms;	/* 0: never */
	int64_t sync_interval_ms;	/* between passes; -1: by load */
	uint32_t checkpoint_frames;	/* a longer WAL; 0: by our own rule */
	int64_t truncate_frames;	/* 0: by our own rule; < 0: never */
	bool restore_if_absent;	/* before it is started */
	bool found;		/* in a directory: let go of when it goes */
	bool asked_for;		/* by request: stopped when it has failed, and
				 * no reason for the process to end */
	bool persistent;	/* tries again whatever is wrong, since
				 * others go on */
	atomic_long *room;	/* for so many more there are descriptors;
				 * or NULL */
	int64_t stop_retry_ms;	/* between attempts at the end */
	int64_t stop_timeout_ms;	/* for publishing at the end */
};

struct job;

/* Starts it.  A byte is written to note_fd when it has ended. */
struct job *job_start(const struct job_config *cf, struct watch *w,
	    struct levels *l, size_t id, int note_fd, struct err *e);
/* Something was written, or names have changed. */
void	job_wake(struct job *j, enum watch_kind kind);
/* Whether it is at work now.  To be asked again each second while it is: where
 * it is stuck, it is seen to that the WAL does not grow for ever. */
bool	job_look(struct job *j);
/* Make a pass now; a database that is waited for is looked for. */
void	job_ask(struct job *j);
/* How it stands. */
struct job_report {
	struct state_facts facts;
	uint64_t count[STATE_COUNTERS], levels[PASS_COUNTERS];
	int64_t busy_ms;	/* at work since; 0: at rest */
};
void	job_report(struct job *j, struct job_report *r);
/* Publish what is committed now, and end. */
void	job_stop(struct job *j);
/* Do not finish what takes long. */
void	job_cancel(struct job *j);
/* Whether it has ended; then *e says why: ERR_NONE if it was asked to and all
 * is published. */
bool	job_ended(struct job *j, struct err *e);
/* Only after it has ended. */
void	job_free(struct job *j);

#endif
