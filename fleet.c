/* SPDX-License-Identifier: ISC */
/*
 * Databases, each with a thread (job.c), in slots: the number of a slot is the
 * id under which it watches.  A slot is free again when its thread has been
 * joined, unless the database is only stopped.
 *
 * Only fleet_collect(), the main thread's, joins.  The mutex is not held while
 * a disk is asked: all threads would wait for a dead one.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "fleet.h"

struct slot {
	struct job *job;	/* NULL: not running */
	struct job_config cf;	/* without a db_path: free */
	bool removed;		/* how it ends is no matter any more */
	bool halted;		/* stopped, but not forgotten */
	struct job_report last;	/* of the job that has ended, */
	struct err why;		/* and why */
};

struct fleet {
	pthread_mutex_t mutex;
	struct watch *watch;
	struct levels *levels;
	struct hooks *hooks;
	struct claims *claims;
	int note_fd;
	atomic_long room;
	bool stopping;
	struct slot *slot;
	size_t n, cap;
	size_t added;
};

struct fleet *
fleet_new(struct watch *w, struct levels *l, struct hooks *h, int note_fd,
    long room)
{
	struct fleet *f = xcalloc(1, sizeof *f);

	pthread_mutex_init(&f->mutex, NULL);
	f->watch = w;
	f->levels = l;
	f->hooks = h;
	f->claims = claims_new();
	f->note_fd = note_fd;
	atomic_init(&f->room, room);
	f->slot = xgrow(NULL, 0, &f->cap, sizeof *f->slot);
	return f;
}

static void
free_config(struct job_config *cf)
{
	free((char *)cf->pair.db_path);
	free((char *)cf->pair.root);
	free((char *)cf->pair.meta);
}

static bool
is_used(const struct slot *s)
{
	return s->cf.pair.db_path != NULL;
}

/* Of one without a job. */
static void
forget_slot(struct slot *s)
{
	free_config(&s->cf);
	memset(s, 0, sizeof *s);
}

void
fleet_free(struct fleet *f)
{
	struct slot *s;

	for (s = f->slot; s < f->slot + f->n; s++) {
		if (s->job != NULL)
			job_free(s->job);
		free_config(&s->cf);
	}
	free(f->slot);
	claims_free(f->claims);
	pthread_mutex_destroy(&f->mutex);
	free(f);
}

struct claims *
fleet_claims(struct fleet *f)
{
	return f->claims;
}

static struct slot *
find_name(struct fleet *f, const char *path)
{
	struct slot *s;

	for (s = f->slot; s < f->slot + f->n; s++)
		if (is_used(s) && strcmp(s->cf.pair.db_path, path) == 0)
			return s;
	return NULL;
}

/* One that is not about to be forgotten. */
static struct slot *
find(struct fleet *f, const char *path)
{
	struct slot *s = find_name(f, path);

	return s == NULL || s->removed ? NULL : s;
}

static const struct slot *
find_root(const struct fleet *f, const char *root)
{
	const struct slot *s;

	for (s = f->slot; s < f->slot + f->n; s++)
		if (is_used(s) && strcmp(s->cf.pair.root, root) == 0)
			return s;
	return NULL;
}

/* Whether it is open under another name; the mutex is not held. */
static int
refuse_twin(struct fleet *f, const char *path, struct err *e)
{
	struct disk_stat st;
	struct err absent;

	if (disk_stat(path, &st, &absent) != 0)
		return 0;
	if (claims_take(f->claims, path, &st, e) != 0) {
		e->kind = ERR_USAGE;
		return -1;
	}
	claims_drop(f->claims, path);
	return 0;
}

static struct slot *
free_slot_of(struct fleet *f)
{
	size_t i;

	for (i = 0; i < f->n && is_used(&f->slot[i]); i++)
		continue;
	if (i == f->n) {
		f->slot = xgrow(f->slot, f->n, &f->cap, sizeof *f->slot);
		memset(&f->slot[f->n++], 0, sizeof *f->slot);
	}
	return &f->slot[i];
}

static int
start(struct fleet *f, struct slot *s, struct err *e)
{
	s->removed = s->halted = false;
	s->job = job_start(&s->cf, f->watch, f->levels,
	    (size_t)(s - f->slot), f->note_fd, e);
	return s->job != NULL ? 0 : -1;
}

static void
fill_slot(struct fleet *f, struct slot *s, const struct job_config *cf)
{
	s->cf = *cf;
	s->cf.pair.db_path = xstrdup(cf->pair.db_path);
	s->cf.pair.root = xstrdup(cf->pair.root);
	s->cf.pair.meta = cf->pair.meta == NULL ? NULL :
	    xstrdup(cf->pair.meta);
	s->cf.pair.hooks = f->hooks;
	s->cf.pair.claims = f->claims;
	s->cf.room = &f->room;
}

/* Under the mutex. */
static int
add(struct fleet *f, const struct job_config *cf, struct err *e)
{
	const char *path = cf->pair.db_path;
	const struct slot *same = find_root(f, cf->pair.root);
	struct slot *s;
	int rc;

	if (same != NULL)
		return err_set(e, ERR_USAGE, "%s: is the replica of %s",
		    cf->pair.root, same->cf.pair.db_path);
	if (find_name(f, path) != NULL)
		return err_set(e, ERR_USAGE, "%s: is replicated already",
		    path);
	if (f->stopping)
		return err_set(e, ERR_BUSY, "%s: shutting down", path);
	s = free_slot_of(f);
	fill_slot(f, s, cf);
	f->added++;
	if ((rc = start(f, s, e)) != 0)
		forget_slot(s);
	return rc;
}

int
fleet_add(struct fleet *f, const struct job_config *cf, struct err *e)
{
	int rc;

	if (refuse_twin(f, cf->pair.db_path, e) != 0)
		return -1;
	pthread_mutex_lock(&f->mutex);
	rc = add(f, cf, e);
	pthread_mutex_unlock(&f->mutex);
	return rc;
}

/* It is to end, and to be forgotten then. */
static void
dismiss(struct slot *s)
{
	s->halted = false;
	s->removed = true;
	if (s->job != NULL)
		job_stop(s->job);
	else
		forget_slot(s);
}

bool
fleet_remove(struct fleet *f, const char *db_path)
{
	struct slot *s;

	pthread_mutex_lock(&f->mutex);
	if ((s = find(f, db_path)) != NULL && !s->cf.found)
		s = NULL;
	if (s != NULL)
		dismiss(s);
	pthread_mutex_unlock(&f->mutex);
	return s != NULL;
}

bool
fleet_is_leaving(struct fleet *f)
{
	bool leaving = false;
	size_t i;

	pthread_mutex_lock(&f->mutex);
	for (i = 0; i < f->n; i++)
		leaving |= f->slot[i].job != NULL && f->slot[i].removed;
	pthread_mutex_unlock(&f->mutex);
	return leaving;
}

char **
fleet_paths(struct fleet *f, size_t *n)
{
	struct slot *s;
	char **path;

	pthread_mutex_lock(&f->mutex);
	path = xcalloc(f->n + 1, sizeof *path);
	*n = 0;
	for (s = f->slot; s < f->slot + f->n; s++)
		if (is_used(s))
			path[(*n)++] = xstrdup(s->cf.pair.db_path);
	pthread_mutex_unlock(&f->mutex);
	return path;
}

static void
take_report(const struct fleet *f, const struct slot *s,
    struct fleet_report *r)
{
	r->state = s->job == NULL ? FLEET_STOPPED : f->stopping ?
	    FLEET_ENDING : s->halted ? FLEET_STOPPING : FLEET_RUNNING;
	if (s->job != NULL)
		job_report(s->job, &r->job);
	else
		r->job = s->last;
	r->path = NULL;
}

struct fleet_report *
fleet_list(struct fleet *f, size_t *n)
{
	struct fleet_report *l;
	struct slot *s;

	pthread_mutex_lock(&f->mutex);
	l = xcalloc(f->n + 1, sizeof *l);
	*n = 0;
	for (s = f->slot; s < f->slot + f->n; s++) {
		if (!is_used(s) || s->removed)
			continue;
		take_report(f, s, &l[*n]);
		l[(*n)++].path = xstrdup(s->cf.pair.db_path);
	}
	pthread_mutex_unlock(&f->mutex);
	return l;
}

void
fleet_list_free(struct fleet_report *l, size_t n)
{
	while (n-- > 0)
		free(l[n].path);
	free(l);
}

bool
fleet_find(struct fleet *f, const char *db_path, struct fleet_report *r)
{
	struct slot *s;

	pthread_mutex_lock(&f->mutex);
	if ((s = find(f, db_path)) != NULL)
		take_report(f, s, r);
	pthread_mutex_unlock(&f->mutex);
	return s != NULL;
}

void
fleet_sync(struct fleet *f, const char *db_path)
{
	struct slot *s;

	pthread_mutex_lock(&f->mutex);
	if ((s = find(f, db_path)) != NULL && s->job != NULL)
		job_ask(s->job);
	pthread_mutex_unlock(&f->mutex);
}

bool
fleet_halt(struct fleet *f, const char *db_path)
{
	struct slot *s;
	bool runs;

	pthread_mutex_lock(&f->mutex);
	s = find(f, db_path);
	runs = s != NULL && s->job != NULL;
	if (runs) {
		s->halted = true;
		job_stop(s->job);
	}
	pthread_mutex_unlock(&f->mutex);
	return runs;
}

int
fleet_outcome(struct fleet *f, const char *db_path, struct err *e)
{
	struct slot *s;

	pthread_mutex_lock(&f->mutex);
	if ((s = find(f, db_path)) != NULL)
		*e = s->why;
	else
		err_set(e, ERR_ABSENT, "database not found: %s", db_path);
	pthread_mutex_unlock(&f->mutex);
	return e->kind == ERR_NONE ? 0 : -1;
}

int
fleet_restart(struct fleet *f, const char *db_path, struct err *e)
{
	struct slot *s;
	int rc = -1;

	pthread_mutex_lock(&f->mutex);
	if (f->stopping)
		err_set(e, ERR_BUSY, "%s: shutting down", db_path);
	else if ((s = find(f, db_path)) == NULL)
		err_set(e, ERR_ABSENT, "database not found: %s", db_path);
	else if (s->job != NULL && s->halted)
		err_set(e, ERR_BUSY, "%s: is still stopping", db_path);
	else {
		s->cf.asked_for |= s->job == NULL;
		rc = s->job == NULL ? start(f, s, e) : 0;
	}
	pthread_mutex_unlock(&f->mutex);
	return rc;
}

void
fleet_forget(struct fleet *f, const char *db_path)
{
	struct slot *s;

	pthread_mutex_lock(&f->mutex);
	if ((s = find(f, db_path)) != NULL)
		dismiss(s);
	pthread_mutex_unlock(&f->mutex);
}

bool
fleet_wake(struct fleet *f)
{
	struct watch_event ev;
	bool busy = watch_fd(f->watch) < 0;
	size_t i;

	pthread_mutex_lock(&f->mutex);
	while (watch_next(f->watch, &ev) == 1)
		if (ev.id < f->n && f->slot[ev.id].job != NULL)
			job_wake(f->slot[ev.id].job, ev.kind);
	for (i = 0; i < f->n; i++)
		busy |= f->slot[i].job != NULL && job_look(f->slot[i].job);
	pthread_mutex_unlock(&f->mutex);
	return busy;
}

/*
 * Why a thread has ended, if not all is published: for the status of the
 * process, unless somebody has asked for it or for its end; and into the log,
 * unless the process says it as its last word.
 */
static void
report(const struct fleet *f, const struct slot *s, struct err *e)
{
	bool asked = s->halted || s->removed || s->cf.asked_for;

	if (s->why.kind == ERR_NONE || (s->removed && s->cf.found))
		return;
	if (!asked && e->kind == ERR_NONE)
		*e = s->why;
	if (asked || f->added > 1)
		log_line(LOG_ERROR, "not replicated any more", "path",
		    s->cf.pair.db_path, "error", s->why.text, NULL);
}

/* Joins the thread of one that has ended. */
static void
end(struct fleet *f, struct slot *s)
{
	job_report(s->job, &s->last);
	job_free(s->job);
	s->job = NULL;
	watch_drop(f->watch, (size_t)(s - f->slot));
	s->halted |= s->cf.asked_for && s->why.kind != ERR_NONE;
	if (!s->halted || s->removed)
		forget_slot(s);
}

size_t
fleet_collect(struct fleet *f, struct err *e)
{
	struct slot *s;
	size_t left = 0;

	pthread_mutex_lock(&f->mutex);
	for (s = f->slot; s < f->slot + f->n; s++) {
		if (s->job != NULL && job_ended(s->job, &s->why)) {
			report(f, s, e);
			end(f, s);
		}
		left += s->job != NULL || (s->halted && !f->stopping);
	}
	pthread_mutex_unlock(&f->mutex);
	return left;
}

void
fleet_stop(struct fleet *f)
{
	struct slot *s;

	pthread_mutex_lock(&f->mutex);
	f->stopping = true;
	for (s = f->slot; s < f->slot + f->n; s++)
		if (s->job != NULL)
			job_stop(s->job);
	pthread_mutex_unlock(&f->mutex);
}

void
fleet_cancel(struct fleet *f)
{
	struct slot *s;

	pthread_mutex_lock(&f->mutex);
	for (s = f->slot; s < f->slot + f->n; s++)
		if (s->job != NULL)
			job_cancel(s->job);
	pthread_mutex_unlock(&f->mutex);
}
