/* SPDX-License-Identifier: ISC */
/*
 * Hooks.
 *
 * Threads leave what has happened in a list, and the main thread forks, outside
 * the mutex: no thread that replicates ever waits for a command.  A database
 * has at most one event of each kind waiting, so a command that is slow, or
 * never ends, costs later events of its database.  Where a disk that all of a
 * thousand databases need goes away, a thousand commands at once would be the
 * next trouble: so there is a bound, and the oldest event comes first.
 */
#include <sys/wait.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec.h"
#include "hooks.h"

#define RUNNING_MAX 32
#define BEGINNING ((pid_t)-1)

struct event {
	uint64_t order;		/* 0: none waits */
	char *replica, *error;
	uint64_t txid;
};

struct target {
	char *db;
	pid_t pid;		/* of what runs; 0; BEGINNING */
	enum hooks_event running;
	struct event event[HOOKS_EVENTS];
};

struct hooks {
	pthread_mutex_t mutex;
	const char *command[HOOKS_EVENTS];
	const struct rlimit *files;
	int note_fd;
	struct target *target;
	size_t n, cap;
	uint64_t order;
};

static const char *const names[HOOKS_EVENTS] = { "error", "recover",
	"snapshot" };

struct hooks *
hooks_new(const struct config *c, const struct rlimit *files, int note_fd)
{
	struct hooks *h;

	if (c == NULL || (c->on_error[0] == '\0' &&
	    c->on_recover[0] == '\0' && c->on_snapshot[0] == '\0'))
		return NULL;
	h = xcalloc(1, sizeof *h);
	pthread_mutex_init(&h->mutex, NULL);
	h->command[HOOKS_ERROR] = c->on_error;
	h->command[HOOKS_RECOVER] = c->on_recover;
	h->command[HOOKS_SNAPSHOT] = c->on_snapshot;
	h->files = files;
	h->note_fd = note_fd;
	return h;
}

static void
drop(struct event *v)
{
	free(v->replica);
	free(v->error);
	memset(v, 0, sizeof *v);
}

void
hooks_free(struct hooks *h)
{
	size_t i, k;

	if (h == NULL)
		return;
	for (i = 0; i < h->n; i++) {
		for (k = 0; k < HOOKS_EVENTS; k++)
			drop(&h->target[i].event[k]);
		free(h->target[i].db);
	}
	free(h->target);
	pthread_mutex_destroy(&h->mutex);
	free(h);
}

static bool
is_idle(const struct target *t)
{
	size_t k;

	for (k = 0; k < HOOKS_EVENTS; k++)
		if (t->event[k].order != 0)
			return false;
	return t->pid == 0;
}

/* That of a database, or one that is not needed any more, or a new one. */
static struct target *
find(struct hooks *h, const char *db)
{
	struct target *t, *idle = NULL;
	size_t i;

	for (i = 0; i < h->n; i++) {
		t = &h->target[i];
		if (strcmp(t->db, db) == 0)
			return t;
		if (is_idle(t))
			idle = t;
	}
	if (idle == NULL) {
		h->target = xgrow(h->target, h->n, &h->cap,
		    sizeof *h->target);
		idle = &h->target[h->n++];
		memset(idle, 0, sizeof *idle);
	}
	free(idle->db);
	idle->db = xstrdup(db);
	return idle;
}

void
hooks_post(struct hooks *h, enum hooks_event event, const char *db,
    const char *replica, const char *error, uint64_t txid)
{
	struct event *v;

	if (h == NULL || h->command[event][0] == '\0')
		return;
	pthread_mutex_lock(&h->mutex);
	v = &find(h, db)->event[event];
	drop(v);
	v->order = ++h->order;
	v->replica = xstrdup(replica);
	v->error = xstrdup(error);
	v->txid = txid;
	pthread_mutex_unlock(&h->mutex);
	if (write(h->note_fd, "", 1) < 0)
		return;		/* full: the main thread is awake */
}

static void
reap(struct target *t)
{
	int status;

	if (t->pid == 0 || waitpid(t->pid, &status, WNOHANG) != t->pid)
		return;
	t->pid = 0;
	if (status != 0)
		log_line(LOG_WARN, "hook failed", "db", t->db, "event",
		    names[t->running], "status", I64(WIFEXITED(status) ?
		    WEXITSTATUS(status) : 128 + WTERMSIG(status)), NULL);
}

static pid_t
begin(const struct hooks *h, const char *db, enum hooks_event event,
    const struct event *v)
{
	char *facts[] = {
		xasprintf("LITESTREAM_EVENT=%s", names[event]),
		xasprintf("LITESTREAM_DB=%s", db),
		xasprintf("LITESTREAM_REPLICA=%s", v->replica),
		xasprintf("LITESTREAM_ERROR=%s", v->error),
		xasprintf("LITESTREAM_TXID=%s", TXID(v->txid)),
	};
	const size_t n = sizeof facts / sizeof facts[0];
	struct err e;
	pid_t pid;
	size_t i;

	if (exec_shell(h->command[event], facts, n, h->files, &pid,
	    &e) != 0) {
		pid = 0;
		log_line(LOG_WARN, "cannot run hook", "db", db, "event",
		    names[event], "error", e.text, NULL);
	}
	for (i = 0; i < n; i++)
		free(facts[i]);
	return pid;
}

/* The oldest event that can be begun, which *v becomes, *t being its target's
 * place; HOOKS_EVENTS: none. */
static enum hooks_event
take(struct hooks *h, size_t *t, struct event *v)
{
	enum hooks_event event = HOOKS_EVENTS;
	const struct event *w;
	size_t i, k, running = 0;

	for (i = 0; i < h->n; i++) {
		running += h->target[i].pid != 0;
		for (k = 0; k < HOOKS_EVENTS && h->target[i].pid == 0; k++) {
			w = &h->target[i].event[k];
			if (w->order == 0 || (event != HOOKS_EVENTS &&
			    w->order > v->order))
				continue;
			event = (enum hooks_event)k;
			*t = i;
			*v = *w;
		}
	}
	if (running >= RUNNING_MAX)
		event = HOOKS_EVENTS;
	if (event != HOOKS_EVENTS) {
		memset(&h->target[*t].event[event], 0, sizeof *v);
		h->target[*t].running = event;
		h->target[*t].pid = BEGINNING;
	}
	return event;
}

void
hooks_run(struct hooks *h)
{
	enum hooks_event event;
	struct event v;
	char *db;
	size_t i;
	pid_t pid;

	if (h == NULL)
		return;
	pthread_mutex_lock(&h->mutex);
	for (i = 0; i < h->n; i++)
		reap(&h->target[i]);
	while ((event = take(h, &i, &v)) != HOOKS_EVENTS) {
		db = xstrdup(h->target[i].db);
		pthread_mutex_unlock(&h->mutex);
		pid = begin(h, db, event, &v);
		free(db);
		drop(&v);
		pthread_mutex_lock(&h->mutex);
		h->target[i].pid = pid;
	}
	pthread_mutex_unlock(&h->mutex);
}
