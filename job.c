/* SPDX-License-Identifier: ISC */
/*
 * One database's thread.
 *
 * It blocks in one place, rest(), until it is woken or a moment has come
 * (upkeep.c).
 *
 * Everything that throws doubt on what is open (file moved, replica gone,
 * somebody else's file in the chain) closes it and opens it again.
 *
 * One that is stuck at work has a helper once a second, a thread that may get
 * stuck, too: neither it nor the main thread ever waits for a disk.
 */
#include <sys/stat.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint.h"
#include "job.h"
#include "upkeep.h"

#define ABSENT_MS 10000		/* between looks for an absent database */
#define POLL_MS 1000		/* where its directory cannot be watched */
#define STUCK_MS 5000		/* at work without a step */
#define TELL_MS 10000		/* the same, which others are told */

struct job {
	struct job_config cf;
	struct pair pair;
	struct watch *watch;
	struct levels *all_levels;
	size_t id;
	int note_fd;

	/* Shared with the main thread. */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool woken, names, asked, stopping, ended;
	atomic_bool cancel;
	_Atomic int64_t busy_ms;	/* at work since; 0: at rest */
	struct err end;

	/* The main thread's: how far the work was, and when it got there. */
	unsigned long steps;
	int64_t steps_ms;
	pthread_t helper;
	bool helped;		/* there is one, or there was, to be joined */
	atomic_bool helping;
	bool told;		/* of this time */

	struct upkeep upkeep;
	_Atomic uint64_t levels[PASS_COUNTERS];
	bool opened_once, waiting, has_room;
};

/* Waits for a wake or a moment; false if it is time to stop. */
static bool
rest(struct job *j, int64_t until, bool *names)
{
	struct timespec ts;
	int64_t wait;
	bool go;

	atomic_store(&j->busy_ms, 0);
	pthread_mutex_lock(&j->mutex);
	while (!j->stopping && !j->woken && !j->names && !j->asked &&
	    (wait = until - time_mono_ms()) > 0) {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_sec += (time_t)(wait / 1000);
		ts.tv_nsec += (long)(wait % 1000) * 1000000;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_sec++;
			ts.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&j->cond, &j->mutex, &ts);
	}
	if (j->woken)
		upkeep_wake(&j->upkeep);
	j->upkeep.asked |= j->asked;
	*names = j->names;
	j->woken = j->names = j->asked = false;
	go = !j->stopping;
	pthread_mutex_unlock(&j->mutex);
	atomic_store(&j->busy_ms, time_mono_ms());
	return go;
}

static void *
help(void *arg)
{
	struct job *j = arg;

	pair_relieve(&j->pair);
	atomic_store(&j->helping, false);
	return NULL;
}

static void
send_helper(struct job *j)
{
	if (atomic_load(&j->helping))
		return;
	if (j->helped)
		pthread_join(j->helper, NULL);
	atomic_store(&j->helping, true);
	j->helped = pthread_create(&j->helper, NULL, help, j) == 0;
	if (!j->helped)
		atomic_store(&j->helping, false);
}

bool
job_look(struct job *j)
{
	unsigned long steps = atomic_load(&j->pair.steps);
	int64_t now = time_mono_ms(), since = atomic_load(&j->busy_ms);

	if (steps != j->steps || since > j->steps_ms) {
		j->steps = steps;
		j->steps_ms = now;
		j->told = false;
	}
	if (since != 0 && now - j->steps_ms >= STUCK_MS)
		send_helper(j);
	if (since != 0 && now - j->steps_ms >= TELL_MS && !j->told) {
		pair_tell_stuck(&j->pair, now - j->steps_ms);
		j->told = true;
	}
	return since != 0;
}

/* It may be long at work from here on without a wake. */
static void
tell(struct job *j)
{
	if (write(j->note_fd, "", 1) < 0)
		return;		/* full: the main thread is awake */
}

static bool
stopping(struct job *j)
{
	bool s;

	pthread_mutex_lock(&j->mutex);
	s = j->stopping;
	pthread_mutex_unlock(&j->mutex);
	return s;
}

static void
watch_all(struct job *j)
{
	const char *wal = db_wal_path(j->pair.c.db);
	char *dir = path_dir(wal), *given = path_dir(j->cf.pair.db_path);
	char *base = xstrdup(path_base(wal));

	base[strlen(base) - strlen("-wal")] = '\0';
	watch_drop(j->watch, j->id);
	j->upkeep.watched = watch_add(j->watch, wal, WATCH_WRITES, NULL,
	    j->id) && watch_add(j->watch, dir, WATCH_NAMES, base, j->id);
	if (strcmp(dir, given) != 0)
		watch_add(j->watch, given, WATCH_NAMES, NULL, j->id);
	watch_add(j->watch, j->pair.state.path, WATCH_TOUCHES, NULL, j->id);
	free(base);
	free(given);
	free(dir);
}

/* While open; false: open anew; true: stop. */
static bool
serve(struct job *j)
{
	struct err e;
	bool names;
	int rc;

	while (rest(j, upkeep_next(&j->upkeep), &names)) {
		if (state_is_lost(&j->pair.state) &&
		    !db_has_moved(j->pair.c.db)) {
			if (pair_renew(&j->pair, &e) != 0)
				return false;
			watch_all(j);
		}
		rc = upkeep_work(&j->upkeep, names, &e);
		if (rc == 1 || (rc == -1 && e.kind == ERR_DAMAGED))
			return false;
	}
	return !db_has_moved(j->pair.c.db) &&
	    pair_root(&j->pair) != PAIR_ROOT_OTHER;
}

/* What needs a person, not patience. */
static bool
hopeless(const struct job *j, const struct err *e)
{
	if (e->kind == ERR_LOCKED)
		return !j->cf.found;	/* nobody is told to start it again */
	if (j->cf.persistent)
		return false;
	if (e->kind == ERR_FOREIGN || e->kind == ERR_USAGE)
		return true;
	return !j->opened_once && (e->kind == ERR_SYSTEM ||
	    e->kind == ERR_DAMAGED || e->kind == ERR_ABSENT);
}

static bool
no_database(const struct job *j, const struct err *e)
{
	struct stat st;

	return e->kind == ERR_ABSENT &&
	    (stat(j->cf.pair.db_path, &st) != 0 || st.st_size == 0);
}

/* No database (yet): until its directory changes, or a moment. */
static void
await(struct job *j, const struct err *e)
{
	char *dir = path_dir(j->cf.pair.db_path);
	bool names, seen;

	if (!j->waiting)
		log_line(LOG_INFO, "waiting for database", "path",
		    j->cf.pair.db_path, "reason", e->text, NULL);
	j->waiting = true;
	watch_drop(j->watch, j->id);
	seen = watch_add(j->watch, dir, WATCH_NAMES,
	    path_base(j->cf.pair.db_path), j->id) &&
	    access(j->cf.pair.db_path, F_OK) != 0;
	rest(j, time_mono_ms() + (seen ? ABSENT_MS : POLL_MS), &names);
	free(dir);
}

/* One more than there are descriptors for would take those that the others need
 * to publish. */
static int
take_room(struct job *j, struct err *e)
{
	if (j->cf.room == NULL || j->has_room)
		return 0;
	j->has_room = atomic_fetch_sub(j->cf.room, 1) > 0;
	if (j->has_room)
		return 0;
	atomic_fetch_add(j->cf.room, 1);
	return err_set(e, ERR_BUSY, "%s: more databases than the limit of "
	    "descriptors allows: raise it (ulimit -n, LimitNOFILE=)",
	    j->cf.pair.db_path);
}

static void
close_pair(struct job *j)
{
	pair_close(&j->pair);
	if (j->has_room)
		atomic_fetch_add(j->cf.room, 1);
	j->has_room = false;
}

/* Opens, with nobody at the levels meanwhile. */
static int
open_pair(struct job *j, struct err *e)
{
	struct compact c = j->cf.levels;
	int rc;

	if (take_room(j, e) != 0)
		return -1;
	if (j->upkeep.levels != NULL)
		levels_suspend(j->upkeep.levels);
	if ((rc = pair_open(&j->pair, false, e)) != 0)
		return rc;
	if (j->upkeep.levels == NULL) {
		c.root = j->cf.pair.root;
		c.db = j->cf.pair.db_path;
		c.owner = j->pair.c.em.owner;
		c.count = j->levels;
		j->upkeep.levels = levels_add(j->all_levels, &c);
	}
	levels_resume(j->upkeep.levels);
	return 0;
}

/* Whether the time for stopping is up, which begins with the first call, after
 * an attempt that failed because of *e. */
static bool
out_of_time(struct job *j, int64_t *until, const struct err *e)
{
	if (*until == 0) {
		*until = time_mono_ms() + j->cf.stop_timeout_ms;
		if (j->cf.stop_timeout_ms > 0 && !atomic_load(&j->cancel))
			log_line(LOG_WARN, "not all is in the replica, trying "
			    "on: a second signal ends that", "path",
			    j->cf.pair.db_path, "seconds",
			    I64(j->cf.stop_timeout_ms / 1000), "error",
			    e->text, NULL);
	}
	return time_mono_ms() >= *until || atomic_load(&j->cancel);
}

/* Opens, with patience; 0, or -1 with why it ends here. */
static int
open_up(struct job *j, struct err *e)
{
	struct upkeep *u = &j->upkeep;
	int64_t start, now, until = 0;
	bool names;

	do {
		start = time_mono_ms();
		tell(j);
		if (open_pair(j, e) == 0) {
			watch_all(j);
			upkeep_begin(u);
			j->opened_once = true;
			j->waiting = false;
			return 0;
		}
		close_pair(j);
		if (no_database(j, e)) {
			pair_tell(&j->pair, STATE_WAITING, false);
			await(j, e);
			if (stopping(j))
				break;
			continue;
		}
		if (hopeless(j, e))
			return -1;
		atomic_fetch_add(&j->pair.state.count[STATE_SYNC_ERRORS], 1);
		now = time_mono_ms();
		now += trouble_met(&u->trouble, j->cf.pair.db_path, e,
		    now - start);
		if (u->trouble.said)
			pair_tell_error(&j->pair, e);
		rest(j, now, &names);
		if (stopping(j))
			sleep_ms(j->cf.stop_retry_ms);
	} while (!stopping(j) || !out_of_time(j, &until, e));
	if (u->trouble.e.kind == ERR_NONE)	/* only waiting */
		return err_set(e, ERR_NONE, "no database");
	return err_set(e, u->trouble.e.kind, "%s: not replicated: %.900s",
	    j->cf.pair.db_path, u->trouble.e.text);
}

/*
 * The end: what was committed before the signal is published.  0; 1: to be
 * opened anew, and then finished; -1.
 */
static int
finish(struct job *j, struct err *e)
{
	struct capture *c = &j->pair.c;
	int64_t until = 0, start;
	bool found;
	int rc;

	for (;;) {
		start = time_mono_ms();
		rc = db_has_moved(c->db) ? 1 : upkeep_root(&j->upkeep, e);
		if (rc == 0)
			rc = capture_last_pass(c, &found, e);
		if (rc < 0 && e->kind == ERR_DAMAGED)
			rc = 1;
		if (rc == 0 && !pair_restorable(&j->pair))
			rc = 1;
		if (rc >= 0 || out_of_time(j, &until, e))
			break;
		sleep_ms(j->cf.stop_retry_ms);
	}
	if (rc != 0)
		return rc;
	if (checkpoint_free(c, &found, e) != 0 ||
	    checkpoint_truncate(c, &found, e) != 0)
		log_line(LOG_WARN, "no checkpoint at the end", "path",
		    j->cf.pair.db_path, "error", e->text, NULL);
	pair_save(&j->pair);
	j->pair.facts.pass_ms = start;
	pair_tell(&j->pair, STATE_STOPPED, true);
	e->kind = ERR_NONE;
	return 0;
}

static void *
run(void *arg)
{
	struct job *j = arg;
	struct err e, why;

	e.kind = ERR_NONE;
	atomic_store(&j->busy_ms, time_mono_ms());
	while (open_up(j, &e) == 0) {
		if (serve(j) && finish(j, &e) <= 0)
			break;
		if (!j->cf.found && db_has_moved(j->pair.c.db)) {
			err_set(&why, ERR_ABSENT, "%s: was moved, deleted or "
			    "replaced", j->cf.pair.db_path);
			pair_tell_error(&j->pair, &why);
		}
		log_line(LOG_INFO, "opening again", "path",
		    j->cf.pair.db_path, NULL);
		close_pair(j);
		pair_tell(&j->pair, STATE_STARTING, false);
	}
	levels_remove(j->upkeep.levels);
	if (e.kind != ERR_NONE)
		pair_tell_error(&j->pair, &e);
	close_pair(j);
	pair_unlock(&j->pair);
	pthread_mutex_lock(&j->mutex);
	j->ended = true;
	j->end = e;
	pthread_mutex_unlock(&j->mutex);
	atomic_store(&j->busy_ms, 0);
	tell(j);
	return NULL;
}

struct job *
job_start(const struct job_config *cf, struct watch *w, struct levels *l,
    size_t id, int note_fd, struct err *e)
{
	struct job *j = xcalloc(1, sizeof *j);
	pthread_condattr_t attr;

	j->cf = *cf;
	j->watch = w;
	j->all_levels = l;
	j->id = id;
	j->note_fd = note_fd;
	j->upkeep.pair = &j->pair;
	j->upkeep.audit_interval_ms = cf->audit_interval_ms;
	j->upkeep.sync_interval_ms = cf->sync_interval_ms;
	j->upkeep.checkpoint_frames = cf->checkpoint_frames;
	j->upkeep.truncate_frames = cf->truncate_frames;
	pair_init(&j->pair, &cf->pair, &j->cancel);
	pthread_mutex_init(&j->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&j->cond, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&j->thread, NULL, run, j) != 0) {
		err_set(e, ERR_SYSTEM, "%s: cannot start a thread",
		    cf->pair.db_path);
		pair_free(&j->pair);
		free(j);
		return NULL;
	}
	return j;
}

void
job_wake(struct job *j, enum watch_kind kind)
{
	pthread_mutex_lock(&j->mutex);
	if (kind == WATCH_NAMES)
		j->names = true;
	else
		j->woken = true;
	pthread_cond_signal(&j->cond);
	pthread_mutex_unlock(&j->mutex);
}

void
job_ask(struct job *j)
{
	pthread_mutex_lock(&j->mutex);
	j->asked = true;
	pthread_cond_signal(&j->cond);
	pthread_mutex_unlock(&j->mutex);
}

void
job_report(struct job *j, struct job_report *r)
{
	size_t i;

	state_get(&j->pair.state, &r->facts);
	for (i = 0; i < STATE_COUNTERS; i++)
		r->count[i] = atomic_load(&j->pair.state.count[i]);
	for (i = 0; i < PASS_COUNTERS; i++)
		r->levels[i] = atomic_load(&j->levels[i]);
	r->busy_ms = atomic_load(&j->busy_ms);
}

void
job_stop(struct job *j)
{
	pthread_mutex_lock(&j->mutex);
	j->stopping = true;
	pthread_cond_signal(&j->cond);
	pthread_mutex_unlock(&j->mutex);
}

void
job_cancel(struct job *j)
{
	atomic_store(&j->cancel, true);
}

bool
job_ended(struct job *j, struct err *e)
{
	bool ended;

	pthread_mutex_lock(&j->mutex);
	if ((ended = j->ended))
		*e = j->end;
	pthread_mutex_unlock(&j->mutex);
	return ended;
}

void
job_free(struct job *j)
{
	pthread_join(j->thread, NULL);
	if (j->helped)
		pthread_join(j->helper, NULL);	/* finds it closed */
	pair_free(&j->pair);
	pthread_cond_destroy(&j->cond);
	pthread_mutex_destroy(&j->mutex);
	free(j);
}
