/* SPDX-License-Identifier: ISC */
/*
 * Databases, each with a thread (job.c), in slots: the number of a slot is the
 * id under which it watches.  A slot is free again when its thread has been
 * joined.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "fleet.h"

struct slot {
	struct job *job;	/* NULL: free */
	struct job_config cf;
	bool removed;		/* how it ends is no matter any more */
};

struct fleet {
	pthread_mutex_t mutex;
	struct watch *watch;
	struct levels *levels;
	int note_fd;
	bool stopping;
	struct slot *slot;
	size_t n, cap;
	size_t added;
};

struct fleet *
fleet_new(struct watch *w, struct levels *l, int note_fd)
{
	struct fleet *f = xcalloc(1, sizeof *f);

	pthread_mutex_init(&f->mutex, NULL);
	f->watch = w;
	f->levels = l;
	f->note_fd = note_fd;
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

static void
free_slot(struct slot *s)
{
	job_free(s->job);
	free_config(&s->cf);
	memset(s, 0, sizeof *s);
}

void
fleet_free(struct fleet *f)
{
	size_t i;

	for (i = 0; i < f->n; i++)
		if (f->slot[i].job != NULL)
			free_slot(&f->slot[i]);
	free(f->slot);
	pthread_mutex_destroy(&f->mutex);
	free(f);
}

/* By name, or as the same file under another. */
static struct slot *
find(struct fleet *f, const char *path)
{
	struct disk_stat a, b;
	struct err absent;
	bool there = disk_stat(path, &a, &absent) == 0;
	struct slot *s;

	for (s = f->slot; s < f->slot + f->n; s++)
		if (s->job != NULL && (strcmp(s->cf.pair.db_path, path) == 0 ||
		    (there && disk_stat(s->cf.pair.db_path, &b, &absent) ==
		    0 && a.dev == b.dev && a.ino == b.ino)))
			return s;
	return NULL;
}

static struct slot *
free_slot_of(struct fleet *f)
{
	size_t i;

	for (i = 0; i < f->n && f->slot[i].job != NULL; i++)
		;
	if (i == f->n) {
		f->slot = xgrow(f->slot, f->n, &f->cap, sizeof *f->slot);
		memset(&f->slot[f->n++], 0, sizeof *f->slot);
	}
	return &f->slot[i];
}

int
fleet_add(struct fleet *f, const struct job_config *cf, struct err *e)
{
	struct slot *s;
	int rc = -1;

	pthread_mutex_lock(&f->mutex);
	if ((s = find(f, cf->pair.db_path)) != NULL)
		err_set(e, ERR_USAGE, "%s: is replicated already, as %s",
		    cf->pair.db_path, s->cf.pair.db_path);
	else if (f->stopping)
		err_set(e, ERR_BUSY, "%s: shutting down", cf->pair.db_path);
	else {
		s = free_slot_of(f);
		s->cf = *cf;
		s->cf.pair.db_path = xstrdup(cf->pair.db_path);
		s->cf.pair.root = xstrdup(cf->pair.root);
		s->cf.pair.meta = cf->pair.meta == NULL ? NULL :
		    xstrdup(cf->pair.meta);
		s->job = job_start(&s->cf, f->watch, f->levels,
		    (size_t)(s - f->slot), f->note_fd, e);
		f->added++;
		if (s->job == NULL)
			free_config(&s->cf);
		else
			rc = 0;
	}
	pthread_mutex_unlock(&f->mutex);
	return rc;
}

bool
fleet_remove(struct fleet *f, const char *db_path)
{
	struct slot *s;
	bool found = false;

	pthread_mutex_lock(&f->mutex);
	for (s = f->slot; s < f->slot + f->n; s++)
		if (s->job != NULL && s->cf.found && !s->removed &&
		    strcmp(s->cf.pair.db_path, db_path) == 0) {
			job_stop(s->job);
			s->removed = found = true;
		}
	pthread_mutex_unlock(&f->mutex);
	return found;
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
		if (s->job != NULL)
			path[(*n)++] = xstrdup(s->cf.pair.db_path);
	pthread_mutex_unlock(&f->mutex);
	return path;
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

/* Why a thread has ended that was not asked to. */
static void
report(struct fleet *f, const struct slot *s, const struct err *why,
    struct err *e)
{
	if (e->kind == ERR_NONE)
		*e = *why;
	if (f->added > 1)
		log_line(LOG_ERROR, "not replicated any more", "path",
		    s->cf.pair.db_path, "error", why->text, NULL);
}

size_t
fleet_collect(struct fleet *f, struct err *e)
{
	struct slot *s;
	struct err why;
	size_t left = 0;

	pthread_mutex_lock(&f->mutex);
	for (s = f->slot; s < f->slot + f->n; s++) {
		if (s->job == NULL)
			continue;
		if (!job_ended(s->job, &why)) {
			left++;
			continue;
		}
		if (why.kind != ERR_NONE && !s->removed)
			report(f, s, &why, e);
		watch_drop(f->watch, (size_t)(s - f->slot));
		free_slot(s);
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
