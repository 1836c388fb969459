/* SPDX-License-Identifier: ISC */
/*
 * Levels, one replica at a time.
 *
 * A thread works through the entries whose moment has come and sleeps until
 * the next.  An entry with nothing to do has no moment until something is
 * published.  busy: an entry is worked on, outside the mutex; whoever suspends
 * it cancels that, and waits.  Failures are logged when they change and tried
 * again after ten seconds at the latest.
 *
 * One thread is enough, and spares the disk, unless it is at one replica for
 * very long: that may be large, or its disk may be dead.  Then one more takes
 * the others.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hooks.h"
#include "levels.h"

#define RETRY_MS 10000
#define LONG_MS 60000		/* at one replica: another thread begins */
#define MAX_THREADS 16
#define NEVER INT64_MAX

struct levels_entry {
	struct levels *l;
	struct compact c;
	char *root, *db;
	int64_t due_ms;		/* since boot; NEVER */
	bool suspended, rebase, noted, busy;
	atomic_bool cancel;
	struct err error;	/* what it failed with last */
};

struct levels {
	struct hooks *hooks;
	pthread_t thread[MAX_THREADS];
	size_t threads, busy;
	int64_t moved_ms;	/* when one of them last began or ended */
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct levels_entry **entry;
	size_t n, cap;
	bool stopping;
	size_t ended;
};

/* The entry whose moment comes first. */
static struct levels_entry *
first(struct levels *l)
{
	struct levels_entry *best = NULL;
	size_t i;

	for (i = 0; i < l->n; i++)
		if (!l->entry[i]->suspended && !l->entry[i]->rebase &&
		    !l->entry[i]->busy &&
		    l->entry[i]->due_ms != NEVER &&
		    (best == NULL || l->entry[i]->due_ms < best->due_ms))
			best = l->entry[i];
	return best;
}

static void
sleep_until(struct levels *l, int64_t until)
{
	int64_t wait = until - time_mono_ms();
	struct timespec ts;

	if (until == NEVER) {
		pthread_cond_wait(&l->cond, &l->mutex);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += (time_t)(wait / 1000);
	ts.tv_nsec += (long)(wait % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&l->cond, &l->mutex, &ts);
}

/* What is due for n; without the mutex. */
static void
work(struct levels_entry *n, struct err *error)
{
	uint64_t snapshot = n->c.snapshot_txid;
	int64_t next = -1;
	struct err e;

	if (compact_run(&n->c, time_wall_ms(), time_mono_ms(), &next,
	    &e) == 0)
		e.kind = ERR_NONE;
	else if (!atomic_load(&n->cancel) && (n->error.kind != e.kind ||
	    strcmp(n->error.text, e.text) != 0))
		log_line(LOG_ERROR, "compaction failed", "db", n->db,
		    "error", e.text, NULL);
	if (e.kind != ERR_NONE && (next < 0 ||
	    next > time_mono_ms() + RETRY_MS))
		next = time_mono_ms() + RETRY_MS;
	*error = e;
	n->due_ms = next < 0 ? NEVER : next;
	n->rebase = n->c.need_rebase;
	if (n->c.snapshot_txid != snapshot)
		hooks_post(n->l->hooks, HOOKS_SNAPSHOT, n->db, n->root, "",
		    n->c.snapshot_txid);
}

static void *
run(void *arg)
{
	struct levels *l = arg;
	struct levels_entry *n;
	struct err e;

	pthread_mutex_lock(&l->mutex);
	while (!l->stopping) {
		n = first(l);
		if (n == NULL || n->due_ms > time_mono_ms()) {
			sleep_until(l, n == NULL ? NEVER : n->due_ms);
			continue;
		}
		n->busy = true;
		n->noted = false;
		l->busy++;
		l->moved_ms = time_mono_ms();
		pthread_mutex_unlock(&l->mutex);
		work(n, &e);
		pthread_mutex_lock(&l->mutex);
		if (!atomic_load(&n->cancel))
			n->error = e;
		n->busy = false;
		l->busy--;
		l->moved_ms = time_mono_ms();
		if (n->noted && compact_waits(&n->c))
			n->due_ms = 0;
		pthread_cond_broadcast(&l->cond);
	}
	l->ended++;
	pthread_cond_broadcast(&l->cond);
	pthread_mutex_unlock(&l->mutex);
	return NULL;
}

struct levels *
levels_start(struct hooks *hooks, struct err *e)
{
	struct levels *l = xcalloc(1, sizeof *l);
	pthread_condattr_t attr;

	l->hooks = hooks;
	pthread_mutex_init(&l->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->cond, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&l->thread[0], NULL, run, l) == 0) {
		l->threads = 1;
		return l;
	}
	err_set(e, ERR_SYSTEM, "cannot start a thread");
	free(l);
	return NULL;
}

/* All threads have been at one replica each for long. */
static void
add_thread(struct levels *l)
{
	if (l->stopping || l->threads == MAX_THREADS ||
	    l->busy < l->threads || time_mono_ms() - l->moved_ms < LONG_MS)
		return;
	l->moved_ms = time_mono_ms();
	if (pthread_create(&l->thread[l->threads], NULL, run, l) == 0)
		l->threads++;
}

static void
free_entry(struct levels_entry *n)
{
	free(n->root);
	free(n->db);
	free(n);
}

bool
levels_stop(struct levels *l, int64_t timeout_ms)
{
	int64_t until = time_mono_ms() + timeout_ms;
	bool ended;
	size_t i;

	pthread_mutex_lock(&l->mutex);
	l->stopping = true;
	for (i = 0; i < l->n; i++)
		atomic_store(&l->entry[i]->cancel, true);
	pthread_cond_broadcast(&l->cond);
	while (l->ended < l->threads && time_mono_ms() < until)
		sleep_until(l, until);
	ended = l->ended == l->threads;
	pthread_mutex_unlock(&l->mutex);
	if (!ended)
		return false;
	for (i = 0; i < l->threads; i++)
		pthread_join(l->thread[i], NULL);
	for (i = 0; i < l->n; i++)
		free_entry(l->entry[i]);
	free(l->entry);
	pthread_cond_destroy(&l->cond);
	pthread_mutex_destroy(&l->mutex);
	free(l);
	return true;
}

struct levels_entry *
levels_add(struct levels *l, const struct compact *c)
{
	struct levels_entry *n = xcalloc(1, sizeof *n);

	n->l = l;
	n->c = *c;
	n->c.root = n->root = xstrdup(c->root);
	n->c.db = n->db = xstrdup(c->db);
	n->c.cancel = &n->cancel;
	n->due_ms = NEVER;
	n->suspended = true;
	pthread_mutex_lock(&l->mutex);
	l->entry = xgrow(l->entry, l->n, &l->cap, sizeof *l->entry);
	l->entry[l->n++] = n;
	pthread_mutex_unlock(&l->mutex);
	return n;
}

void
levels_suspend(struct levels_entry *n)
{
	pthread_mutex_lock(&n->l->mutex);
	n->suspended = true;
	atomic_store(&n->cancel, true);
	while (n->busy)
		pthread_cond_wait(&n->l->cond, &n->l->mutex);
	pthread_mutex_unlock(&n->l->mutex);
}

void
levels_remove(struct levels_entry *n)
{
	struct levels *l;
	size_t i;

	if (n == NULL)
		return;
	levels_suspend(n);
	l = n->l;
	pthread_mutex_lock(&l->mutex);
	for (i = 0; l->entry[i] != n; i++)
		;
	l->entry[i] = l->entry[--l->n];
	pthread_mutex_unlock(&l->mutex);
	free_entry(n);
}

void
levels_resume(struct levels_entry *n)
{
	pthread_mutex_lock(&n->l->mutex);
	n->suspended = false;
	atomic_store(&n->cancel, n->l->stopping);
	n->due_ms = 0;
	pthread_cond_broadcast(&n->l->cond);
	pthread_mutex_unlock(&n->l->mutex);
}

void
levels_note(struct levels_entry *n)
{
	pthread_mutex_lock(&n->l->mutex);
	if (n->busy)
		n->noted = true;	/* perhaps after it has looked */
	else if (compact_waits(&n->c)) {
		n->due_ms = 0;
		pthread_cond_broadcast(&n->l->cond);
	}
	add_thread(n->l);
	pthread_mutex_unlock(&n->l->mutex);
}

void
levels_error(struct levels_entry *n, char *text, size_t size)
{
	pthread_mutex_lock(&n->l->mutex);
	snprintf(text, size, "%.*s", (int)size - 1,
	    n->error.kind != ERR_NONE ? n->error.text : "");
	pthread_mutex_unlock(&n->l->mutex);
}

bool
levels_wants_rebase(struct levels_entry *n, char *why, size_t size)
{
	bool wants;

	pthread_mutex_lock(&n->l->mutex);
	wants = !n->busy && n->rebase;
	if (wants) {
		snprintf(why, size, "%s", n->c.why);
		n->rebase = n->c.need_rebase = false;
	}
	pthread_mutex_unlock(&n->l->mutex);
	return wants;
}
