/* SPDX-License-Identifier: ISC */
/*
 * One database's thread.
 *
 * It blocks in one place, rest(), and what it waits for are moments: the next
 * pass after a wake, the next look where a wake found nothing (the index is
 * written after the WAL and makes no event), a checkpoint one second after the
 * last commit, an emptied WAL and a saved table soon after, and a heartbeat
 * that sees what no watch reports.  Idle, only the heartbeat is left.
 *
 * Everything that throws doubt on what is open (file moved, replica gone,
 * somebody else's file in the chain) closes it and opens it again.
 *
 * An error is logged when it changes, and then every five minutes; attempts are
 * repeated after 1 s .. 10 s, or ten times what the last one took.
 */
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "audit.h"
#include "checkpoint.h"
#include "job.h"

#define HEARTBEAT_MS 10000
#define POLL_MS 100		/* where there are no events */
#define SPACING_MS 100		/* between passes under load, at least, */
#define SPACING_MAX_MS 2000	/* and at most */
#define LOOK_MAX_MS 1024	/* the last of 1, 2, 4 .. ms */
#define GHOST_MS 60000		/* how long a transaction past the index is */
#define GHOST_STEP_MS 1000	/* looked for, and how often */
#define CHECKPOINT_FRAMES 750
#define CHECKPOINT_MS 1000	/* after the last commit */
#define CHECKPOINT_RETRY_MAX_MS 60000
#define WINDOW_FRAMES (4 * CHECKPOINT_FRAMES)	/* more: copy first */
#define LOCKED_FRAMES 16384
#define LOCKED_TRIES 4		/* windows that did not help */
#define TRUNCATE_FRAMES 121359
#define TRUNCATE_MS 2000	/* after the last commit */
#define SAVE_MS 3000		/* after the last commit, */
#define SAVE_MAX_MS 60000	/* or since the last save; */
#define SAVE_PART 10		/* later where saving takes long */
#define AUDIT_REST_MS 100	/* between slices */
#define AUDIT_FIRST 24		/* the first begins after this part */
#define RETRY_MS 1000
#define RETRY_MAX_MS 10000
#define BUSY_RETRY_MS 100
#define BUSY_QUIET_MS 10000	/* busy for longer is said */
#define REPEAT_MS 300000	/* the same error again in the log */
#define STOP_RETRY_MS 500
#define WAL_LIMIT ((uint64_t)1 << 30)
#define SPARE_MS 50		/* between looks at it while nothing works */
#define FREE_PART 10		/* of the file system: one in ten */
#define NEVER INT64_MAX

struct job {
	struct job_config cf;
	struct pair pair;
	struct watch *watch;
	struct levels *all_levels;
	struct levels_entry *levels;	/* NULL before the first open */
	size_t id;
	int note_fd;

	/* Shared with the main thread. */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool woken, names, stopping, ended;
	atomic_bool cancel;
	struct err end;

	/* Moments, since boot; NEVER. */
	int64_t pass_at;	/* wanted; not before spacing_until */
	int64_t spacing_until, look_at, checkpoint_at, truncate_at, save_at;
	int64_t heartbeat_at, audit_at;
	int64_t look_ms, ghost_until, last_save, save_ms, checkpoint_wait;
	unsigned tries;		/* checkpoints that did not complete */
	bool busy;		/* the last one needed a window */
	struct audit audit;
	bool watched, opened_once, away;
	char rebase_why[256];	/* "": none is wanted */

	/* The error that lasts. */
	struct err error;
	bool said;
	int64_t error_since, error_said, retry_ms, spare_at;
};

/* Waits for a wake or a moment; false if it is time to stop. */
static bool
rest(struct job *j, int64_t until, bool *names)
{
	struct timespec ts;
	int64_t wait;
	bool go;

	pthread_mutex_lock(&j->mutex);
	while (!j->stopping && !j->woken && !j->names &&
	    (wait = until - time_mono_ms()) > 0) {
		if (until == NEVER) {
			pthread_cond_wait(&j->cond, &j->mutex);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_sec += (time_t)(wait / 1000);
		ts.tv_nsec += (long)(wait % 1000) * 1000000;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_sec++;
			ts.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&j->cond, &j->mutex, &ts);
	}
	if (j->woken && j->pass_at == NEVER)
		j->pass_at = 0;
	if (j->woken)
		j->look_ms = 0;
	*names = j->names;
	j->woken = j->names = false;
	go = !j->stopping;
	pthread_mutex_unlock(&j->mutex);
	return go;
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

/* Says e if it is new or old enough, and sets how long to wait. */
static void
failed(struct job *j, const struct err *e, int64_t took)
{
	int64_t now = time_mono_ms();
	bool same = j->error.kind == e->kind &&
	    strcmp(j->error.text, e->text) == 0;

	if (j->error.kind == ERR_NONE)
		j->error_since = now;
	if (!same)
		j->said = false;
	j->error = *e;
	if ((!j->said && (e->kind != ERR_BUSY ||
	    now - j->error_since >= BUSY_QUIET_MS)) ||
	    (j->said && now - j->error_said >= REPEAT_MS)) {
		log_line(LOG_ERROR, "replication failed, trying again",
		    "path", j->cf.pair.db_path, "error", e->text, NULL);
		j->said = true;
		j->error_said = now;
	}
	j->retry_ms = j->retry_ms == 0 ? RETRY_MS : 2 * j->retry_ms;
	if (j->retry_ms > RETRY_MAX_MS)
		j->retry_ms = RETRY_MAX_MS;
	if (j->retry_ms < 10 * took)
		j->retry_ms = 10 * took < REPEAT_MS ? 10 * took : REPEAT_MS;
	if (e->kind == ERR_BUSY && now - j->error_since < BUSY_QUIET_MS)
		j->retry_ms = BUSY_RETRY_MS;
	j->spacing_until = now + j->retry_ms;
	j->pass_at = 0;
}

static void
succeeded(struct job *j)
{
	if (j->said)
		log_line(LOG_INFO, "replication works again", "path",
		    j->cf.pair.db_path, "txid", TXID(j->pair.pages.txid),
		    NULL);
	j->error.kind = ERR_NONE;
	j->said = false;
	j->retry_ms = 0;
}

/* After a pass that found commits: what follows when nothing more comes. */
static void
plan_rest(struct job *j, int64_t now)
{
	int64_t last;

	j->checkpoint_wait = CHECKPOINT_MS;
	j->checkpoint_at = now + CHECKPOINT_MS;
	j->truncate_at = now + TRUNCATE_MS;
	j->save_at = now + SAVE_MS + SAVE_PART * j->save_ms;
	last = j->last_save + SAVE_MAX_MS + 10 * SAVE_PART * j->save_ms;
	if (j->save_at > last)
		j->save_at = last;
	j->look_ms = 0;
	j->look_at = NEVER;
	j->ghost_until = 0;
}

/* After a wake that found nothing: 1, 2, 4 .. ms, then each second while there
 * is something to wait for. */
static void
plan_look(struct job *j, int64_t now)
{
	if (j->look_ms < LOOK_MAX_MS) {
		j->look_ms = j->look_ms == 0 ? 1 : 2 * j->look_ms;
		j->look_at = now + j->look_ms;
		return;
	}
	j->look_at = NEVER;
	if (!capture_ghost(&j->pair.c))
		return;
	if (j->ghost_until == 0)
		j->ghost_until = now + GHOST_MS;
	if (now < j->ghost_until)
		j->look_at = now + GHOST_STEP_MS;
}

/*
 * When the WAL is long: checkpoints while the application goes on.  Without any
 * lock; if that does not reach the end, in a window, for as long as that works;
 * at last with the write lock.
 */
static int
shorten(struct job *j, struct err *e)
{
	struct capture *c = &j->pair.c;
	bool complete = false;

	if (c->pos.frames <= CHECKPOINT_FRAMES)
		return 0;
	if (checkpoint_is_complete(c, &complete, e) != 0)
		return -1;
	if (complete)
		return 0;
	if ((!j->busy || c->pos.frames > WINDOW_FRAMES) &&
	    checkpoint_free(c, &complete, e) != 0)
		return -1;
	if (!complete) {
		if (checkpoint_window(c, &complete, e) != 0)
			return -1;
		j->busy = complete;
	}
	if (!complete && c->pos.frames > LOCKED_FRAMES &&
	    j->tries >= LOCKED_TRIES &&
	    checkpoint_locked(c, &complete, e) != 0)
		return -1;
	j->tries = complete ? 0 : j->tries + 1;
	return 0;
}

/* A level cannot go on: the chain is closed by a full image. */
static int
heal(struct job *j, struct err *e)
{
	char why[256];
	int rc;

	if (j->rebase_why[0] == '\0' &&
	    levels_wants_rebase(j->levels, why, sizeof why))
		memcpy(j->rebase_why, why, sizeof why);
	if (j->rebase_why[0] == '\0')
		return 0;
	levels_suspend(j->levels);
	if ((rc = pair_rebase(&j->pair, j->rebase_why, e)) == 0)
		j->rebase_why[0] = '\0';
	levels_resume(j->levels);
	return rc;
}

static int
pass(struct job *j, struct err *e)
{
	struct capture *c = &j->pair.c;
	int64_t start = time_mono_ms(), took;
	uint64_t files = c->em.published;
	bool found;

	if (capture_pass(c, &found, e) != 0)
		return -1;
	took = time_mono_ms() - start;
	j->pass_at = NEVER;
	if (!found) {
		plan_look(j, start);
		return 0;
	}
	plan_rest(j, start + took);
	if (files != c->em.published) {
		levels_note(j->levels);
		log_line(LOG_DEBUG, "sync", "db", j->cf.pair.db_path, "txid",
		    TXID(j->pair.pages.txid), "ms", I64(took), NULL);
	}
	took = 10 * took > SPACING_MAX_MS ? SPACING_MAX_MS : 10 * took;
	if (j->cf.sync_interval_ms >= 0)
		took = j->cf.sync_interval_ms;
	else if (took < SPACING_MS)
		took = SPACING_MS;
	j->spacing_until = start + took;
	return shorten(j, e);
}

/* One second after the last commit: everything into the database file. */
static int
settle(struct job *j, int64_t now, struct err *e)
{
	bool complete;

	j->checkpoint_at = NEVER;
	if (checkpoint_free(&j->pair.c, &complete, e) != 0)
		return -1;
	if (complete) {
		j->tries = 0;
		return 0;
	}
	j->checkpoint_at = now + j->checkpoint_wait;
	j->checkpoint_wait *= 2;
	if (j->checkpoint_wait > CHECKPOINT_RETRY_MAX_MS)
		j->checkpoint_wait = CHECKPOINT_RETRY_MAX_MS;
	return 0;
}

static int
empty_wal(struct job *j, struct err *e)
{
	bool done;

	j->truncate_at = NEVER;
	return checkpoint_truncate(&j->pair.c, &done, e);
}

/* While the replica cannot be written: is the WAL about to fill the disk? */
static void
spare_disk(struct job *j)
{
	const char *wal = db_wal_path(j->pair.c.db);
	struct statvfs fs;
	struct stat st;
	struct err e;

	if (stat(wal, &st) != 0 || statvfs(wal, &fs) != 0 ||
	    !db_is_wal(j->pair.c.db))
		return;
	if ((uint64_t)st.st_size < WAL_LIMIT &&
	    (fs.f_bavail >= fs.f_blocks / FREE_PART ||
	    (uint64_t)st.st_size < (uint64_t)fs.f_blocks * fs.f_frsize /
	    FREE_PART / 10))
		return;
	if (!j->pair.c.doubt)
		log_line(LOG_ERROR, "letting go of the WAL, which is too "
		    "long: points in time will be missing", "path",
		    j->cf.pair.db_path, "size", I64(st.st_size), NULL);
	if (checkpoint_let_go(&j->pair.c, &e) != 0)
		log_line(LOG_DEBUG, "checkpoint failed", "error", e.text,
		    NULL);
}

/* A slice, and when the next one or the next audit is due. */
static int
look_back(struct job *j, int64_t now, struct err *e)
{
	uint64_t files = j->pair.c.em.published;
	bool done;

	if (audit_slice(&j->audit, &j->pair.c, &done, e) != 0)
		return -1;
	j->audit_at = now + (done ? j->cf.audit_interval_ms : AUDIT_REST_MS);
	if (files != j->pair.c.em.published)
		levels_note(j->levels);
	return 0;
}

/* The replica's root: 0 as it was; 1 open anew; -1 away. */
static int
look_at_root(struct job *j, struct err *e)
{
	switch (pair_root(&j->pair)) {
	case PAIR_ROOT_SAME:
		if (j->away)
			levels_resume(j->levels);
		j->away = false;
		return 0;
	case PAIR_ROOT_OTHER:
		return 1;
	default:
		j->pass_at = 0;
		levels_suspend(j->levels);
		j->away = true;
		return err_set(e, ERR_AWAY, "%s: replica is not mounted",
		    j->cf.pair.root);
	}
}

/* What is due now.  1: open anew; 0; -1. */
static int
work(struct job *j, bool names, struct err *e)
{
	int64_t now = time_mono_ms();
	int rc;

	if (now >= j->heartbeat_at) {
		j->heartbeat_at = now + HEARTBEAT_MS;
		names = true;
		if (j->pass_at == NEVER)
			j->pass_at = 0;
		j->look_ms = LOOK_MAX_MS;
	}
	if (!j->watched && j->pass_at == NEVER)
		j->pass_at = 0;
	if (now >= j->look_at) {
		j->look_at = NEVER;
		j->pass_at = 0;
	}
	if (names && db_has_moved(j->pair.c.db))
		return 1;
	if (j->pass_at <= now && now >= j->spacing_until) {
		if ((rc = look_at_root(j, e)) != 0)
			return rc;
		if (heal(j, e) != 0 || pass(j, e) != 0)
			return -1;
		succeeded(j);
	}
	if (j->error.kind != ERR_NONE) {
		if (now >= j->spare_at) {
			spare_disk(j);
			j->spare_at = now + SPARE_MS;
		}
		return 0;
	}
	if ((now >= j->checkpoint_at && settle(j, now, e) != 0) ||
	    (now >= j->truncate_at && empty_wal(j, e) != 0) ||
	    (now >= j->audit_at && look_back(j, now, e) != 0))
		return -1;
	if (now >= j->save_at) {
		pair_save(&j->pair);
		j->save_at = NEVER;
		j->last_save = time_mono_ms();
		j->save_ms = j->last_save - now;
	}
	return 0;
}

static int64_t
next_moment(const struct job *j)
{
	int64_t at = j->heartbeat_at, pass_at = j->pass_at;

	if (pass_at != NEVER && pass_at < j->spacing_until)
		pass_at = j->spacing_until;
	if (pass_at < at)
		at = pass_at;
	if (j->look_at < at)
		at = j->look_at;
	if (!j->watched && time_mono_ms() + POLL_MS < at)
		at = time_mono_ms() + POLL_MS;
	if (j->error.kind != ERR_NONE)
		return at;
	if (j->checkpoint_at < at)
		at = j->checkpoint_at;
	if (j->truncate_at < at)
		at = j->truncate_at;
	if (j->save_at < at)
		at = j->save_at;
	if (j->audit_at < at)
		at = j->audit_at;
	return at;
}

/* While open; false: open anew; true: stop. */
static bool
serve(struct job *j)
{
	int64_t start;
	struct err e;
	bool names;
	int rc;

	while (rest(j, next_moment(j), &names)) {
		start = time_mono_ms();
		rc = work(j, names, &e);
		if (rc == 1)
			return false;
		if (rc == 0)
			continue;
		failed(j, &e, time_mono_ms() - start);
		if (e.kind == ERR_DAMAGED)
			return false;
	}
	return !db_has_moved(j->pair.c.db) &&
	    pair_root(&j->pair) != PAIR_ROOT_OTHER;
}

/* What needs a person, not patience. */
static bool
hopeless(const struct job *j, const struct err *e)
{
	if (e->kind == ERR_LOCKED || e->kind == ERR_FOREIGN ||
	    e->kind == ERR_USAGE)
		return true;
	return !j->opened_once && (e->kind == ERR_SYSTEM ||
	    e->kind == ERR_DAMAGED);
}

static void
watch_all(struct job *j)
{
	const char *wal = db_wal_path(j->pair.c.db);
	char *dir = path_dir(wal), *given = path_dir(j->cf.pair.db_path);

	watch_drop(j->watch, j->id);
	j->watched = watch_add(j->watch, wal, WATCH_WRITES, j->id) &&
	    watch_add(j->watch, dir, WATCH_NAMES, j->id);
	if (strcmp(dir, given) != 0)
		watch_add(j->watch, given, WATCH_NAMES, j->id);
	free(given);
	free(dir);
}

/* No database (yet): until its directory changes, or a moment. */
static void
await(struct job *j, const struct err *e)
{
	char *dir = path_dir(j->cf.pair.db_path);
	bool names, seen;

	if (j->error.kind != ERR_ABSENT)
		log_line(LOG_INFO, "waiting for database", "path",
		    j->cf.pair.db_path, "reason", e->text, NULL);
	j->error = *e;
	watch_drop(j->watch, j->id);
	seen = watch_add(j->watch, dir, WATCH_NAMES, j->id) &&
	    access(j->cf.pair.db_path, F_OK) != 0;
	rest(j, time_mono_ms() + (seen ? HEARTBEAT_MS : RETRY_MS), &names);
	free(dir);
}

/* Opens, with nobody at the levels meanwhile. */
static int
open_pair(struct job *j, struct err *e)
{
	struct compact c = j->cf.levels;
	int rc;

	if (j->levels != NULL)
		levels_suspend(j->levels);
	if ((rc = pair_open(&j->pair, false, e)) != 0)
		return rc;
	if (j->levels == NULL) {
		c.root = j->cf.pair.root;
		c.db = j->cf.pair.db_path;
		c.owner = j->pair.c.em.owner;
		j->levels = levels_add(j->all_levels, &c);
	}
	levels_resume(j->levels);
	return 0;
}

/* Opens, with patience; 0, or -1 with why it ends here. */
static int
open_up(struct job *j, struct err *e)
{
	int64_t start, now;
	bool names;

	do {
		start = time_mono_ms();
		if (open_pair(j, e) == 0) {
			now = j->last_save = time_mono_ms();
			succeeded(j);
			watch_all(j);
			plan_rest(j, now);
			j->pass_at = 0;		/* what came before the watch */
			j->spacing_until = now;
			j->heartbeat_at = now + HEARTBEAT_MS;
			j->audit_at = j->cf.audit_interval_ms > 0 ?
			    now + j->cf.audit_interval_ms / AUDIT_FIRST :
			    NEVER;
			j->opened_once = true;
			return 0;
		}
		pair_close(&j->pair);
		if (hopeless(j, e))
			return -1;
		if (e->kind == ERR_ABSENT) {
			await(j, e);
			continue;
		}
		failed(j, e, time_mono_ms() - start);
		rest(j, j->spacing_until, &names);
	} while (!stopping(j));
	return err_set(e, j->error.kind == ERR_NONE ||
	    j->error.kind == ERR_ABSENT ? ERR_NONE : ERR_BUSY,
	    "%s: not replicated: %.900s", j->cf.pair.db_path, j->error.text);
}

/*
 * The end: what was committed before the signal is published.  A new pin is
 * begun first, so that SQLite recovers an index that a dead writer left.
 */
static int
finish(struct job *j, struct err *e)
{
	int64_t until = time_mono_ms() + j->cf.stop_timeout_ms;
	struct capture *c = &j->pair.c;
	bool found, complete;
	int rc;

	for (;;) {
		rc = db_pin(c->db, e);
		if (rc == 0)
			db_unpin_new(c->db);
		if (rc == 0)
			rc = look_at_root(j, e) != 0 ? -1 :
			    capture_pass(c, &found, e);
		if (rc == 0 || time_mono_ms() >= until ||
		    atomic_load(&j->cancel))
			break;
		sleep_ms(STOP_RETRY_MS);
	}
	if (rc != 0)
		return -1;
	if (checkpoint_free(c, &complete, e) != 0 ||
	    checkpoint_truncate(c, &complete, e) != 0)
		log_line(LOG_WARN, "no checkpoint at the end", "path",
		    j->cf.pair.db_path, "error", e->text, NULL);
	pair_save(&j->pair);
	return 0;
}

static void *
run(void *arg)
{
	struct job *j = arg;
	struct err e;

	e.kind = ERR_NONE;
	while (open_up(j, &e) == 0) {
		if (serve(j)) {
			if (finish(j, &e) == 0)
				e.kind = ERR_NONE;
			break;
		}
		log_line(LOG_INFO, "opening again", "path",
		    j->cf.pair.db_path, NULL);
		pair_close(&j->pair);
	}
	pair_close(&j->pair);
	pthread_mutex_lock(&j->mutex);
	j->ended = true;
	j->end = e;
	pthread_mutex_unlock(&j->mutex);
	if (write(j->note_fd, "", 1) < 0)
		return NULL;	/* the main thread looks anyway */
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
	ended = j->ended;
	*e = j->end;
	pthread_mutex_unlock(&j->mutex);
	return ended;
}

void
job_free(struct job *j)
{
	pthread_join(j->thread, NULL);
	pair_free(&j->pair);
	pthread_cond_destroy(&j->cond);
	pthread_mutex_destroy(&j->mutex);
	free(j);
}
