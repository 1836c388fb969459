/* SPDX-License-Identifier: ISC */
/*
 * Hooks.
 *
 * Threads leave what has happened in a list, and the main thread forks: it has
 * nothing else to do, and no thread that replicates ever waits for a command.
 * A database has at most one event of each kind waiting, so a command that is
 * slow, or never ends, costs later events of its database and nothing else.
 */
#include <sys/wait.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec.h"
#include "hooks.h"

struct event {
	uint64_t order;		/* 0: none waits */
	char *replica, *error;
	uint64_t txid;
};

struct target {
	char *db;
	pid_t pid;		/* 0: none runs */
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

static struct target *
find(struct hooks *h, const char *db)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		if (strcmp(h->target[i].db, db) == 0)
			return &h->target[i];
	h->target = xgrow(h->target, h->n, &h->cap, sizeof *h->target);
	memset(&h->target[h->n], 0, sizeof *h->target);
	h->target[h->n].db = xstrdup(db);
	return &h->target[h->n++];
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

static void
begin(struct hooks *h, struct target *t, enum hooks_event event)
{
	struct event *v = &t->event[event];
	char *facts[] = {
		xasprintf("LITESTREAM_EVENT=%s", names[event]),
		xasprintf("LITESTREAM_DB=%s", t->db),
		xasprintf("LITESTREAM_REPLICA=%s", v->replica),
		xasprintf("LITESTREAM_ERROR=%s", v->error),
		xasprintf("LITESTREAM_TXID=%s", TXID(v->txid)),
	};
	const size_t n = sizeof facts / sizeof facts[0];
	struct err e;
	size_t i;

	t->running = event;
	if (exec_shell(h->command[event], facts, n, h->files,
	    &t->pid, &e) != 0) {
		t->pid = 0;
		log_line(LOG_WARN, "cannot run hook", "db", t->db, "event",
		    names[event], "error", e.text, NULL);
	}
	for (i = 0; i < n; i++)
		free(facts[i]);
	drop(v);
}

void
hooks_run(struct hooks *h)
{
	struct target *t;
	size_t i, k, first;

	if (h == NULL)
		return;
	pthread_mutex_lock(&h->mutex);
	for (k = 0; k < h->n; k++) {
		t = &h->target[k];
		reap(t);
		if (t->pid != 0)
			continue;
		first = HOOKS_EVENTS;
		for (i = 0; i < HOOKS_EVENTS; i++)
			if (t->event[i].order != 0 && (first == HOOKS_EVENTS ||
			    t->event[i].order < t->event[first].order))
				first = i;
		if (first != HOOKS_EVENTS)
			begin(h, t, (enum hooks_event)first);
	}
	pthread_mutex_unlock(&h->mutex);
}
