/* SPDX-License-Identifier: ISC */
/*
 * Wakes.
 *
 * Several ids may watch one directory: inotify then gives one descriptor, which
 * stands in the table once for each of them.  An event that is lost (queue
 * overflow) is reported as one of every kind to every id.  Thread-safe.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "watch.h"

#if defined(__linux__) && !defined(WATCH_POLL)
#include <sys/inotify.h>
#define HAVE_INOTIFY 1
#else
#define HAVE_INOTIFY 0
#endif

#define BUFFER_SIZE 16384

struct entry {
	int wd;
	char *base;		/* NULL: all names */
	struct watch_event ev;
	bool pending;
};

struct watch {
	int fd;
	pthread_mutex_t mutex;
	struct entry *entry;
	size_t n, cap;
	unsigned long drops;	/* of descriptors */
};

#if HAVE_INOTIFY
#define NAMES (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | \
	IN_DELETE_SELF | IN_MOVE_SELF)

static int
open_events(void)
{
	return inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}

static int
add_events(int fd, const char *path, enum watch_kind kind)
{
	return inotify_add_watch(fd, path, (kind == WATCH_WRITES ?
	    IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF :
	    kind == WATCH_TOUCHES ? IN_ATTRIB : NAMES) | IN_MASK_ADD);
}

static void
drop_events(int fd, int wd)
{
	inotify_rm_watch(fd, wd);
}

/* name: of what it happened to in a directory, or NULL. */
static bool
concerns(const struct entry *n, int wd, const char *name)
{
	if (wd < 0)
		return true;
	return n->wd == wd && (n->base == NULL || name == NULL ||
	    strncmp(name, n->base, strlen(n->base)) == 0);
}

static void
mark(struct watch *w, int wd, const char *name)
{
	size_t i;

	for (i = 0; i < w->n; i++)
		if (concerns(&w->entry[i], wd, name))
			w->entry[i].pending = true;
}

/* Reads what there is and marks whom it concerns. */
static void
read_events(struct watch *w)
{
	_Alignas(struct inotify_event) char buf[BUFFER_SIZE];
	struct inotify_event ev;
	ssize_t k, at;

	while ((k = read(w->fd, buf, sizeof buf)) > 0)
		for (at = 0; at + (ssize_t)sizeof ev <= k;
		    at += (ssize_t)(sizeof ev + ev.len)) {
			memcpy(&ev, buf + at, sizeof ev);
			if ((ev.mask & IN_Q_OVERFLOW) != 0)
				mark(w, -1, NULL);
			else if ((ev.mask & IN_IGNORED) == 0)
				mark(w, ev.wd, ev.len == 0 ? NULL :
				    buf + at + sizeof ev);
		}
}
#else
static int
open_events(void)
{
	return -1;
}

static int
add_events(int fd, const char *path, enum watch_kind kind)
{
	(void)fd;
	(void)path;
	(void)kind;
	return -1;
}

static void
drop_events(int fd, int wd)
{
	(void)fd;
	(void)wd;
}

static void
read_events(struct watch *w)
{
	(void)w;
}
#endif

struct watch *
watch_new(void)
{
	struct watch *w = xcalloc(1, sizeof *w);

	pthread_mutex_init(&w->mutex, NULL);
	w->fd = open_events();
	return w;
}

void
watch_free(struct watch *w)
{
	size_t i;

	if (w == NULL)
		return;
	if (w->fd >= 0)
		close(w->fd);
	for (i = 0; i < w->n; i++)
		free(w->entry[i].base);
	pthread_mutex_destroy(&w->mutex);
	free(w->entry);
	free(w);
}

int
watch_fd(const struct watch *w)
{
	return w->fd;
}

bool
watch_add(struct watch *w, const char *path, enum watch_kind kind,
    const char *base, size_t id)
{
	struct entry *n;
	unsigned long drops;
	int wd;

	/* Outside the mutex, as it blocks where a disk is dead; again if it may
	 * be a descriptor that another thread has dropped meanwhile. */
	pthread_mutex_lock(&w->mutex);
	do {
		drops = w->drops;
		pthread_mutex_unlock(&w->mutex);
		if (w->fd < 0 || (wd = add_events(w->fd, path, kind)) < 0)
			return false;
		pthread_mutex_lock(&w->mutex);
	} while (drops != w->drops);
	w->entry = xgrow(w->entry, w->n, &w->cap, sizeof *w->entry);
	n = &w->entry[w->n++];
	n->wd = wd;
	n->base = base != NULL ? xstrdup(base) : NULL;
	n->ev.id = id;
	n->ev.kind = kind;
	n->pending = false;
	pthread_mutex_unlock(&w->mutex);
	return true;
}

static bool
in_use(const struct watch *w, int wd)
{
	size_t i;

	for (i = 0; i < w->n; i++)
		if (w->entry[i].wd == wd)
			return true;
	return false;
}

void
watch_drop(struct watch *w, size_t id)
{
	size_t i = 0;
	int wd;

	pthread_mutex_lock(&w->mutex);
	while (i < w->n) {
		if (w->entry[i].ev.id != id) {
			i++;
			continue;
		}
		wd = w->entry[i].wd;
		free(w->entry[i].base);
		w->entry[i] = w->entry[--w->n];
		if (!in_use(w, wd)) {
			drop_events(w->fd, wd);
			w->drops++;
		}
	}
	pthread_mutex_unlock(&w->mutex);
}

int
watch_next(struct watch *w, struct watch_event *ev)
{
	size_t i;
	int rc = 0;

	pthread_mutex_lock(&w->mutex);
	read_events(w);
	for (i = 0; i < w->n && rc == 0; i++)
		if (w->entry[i].pending) {
			w->entry[i].pending = false;
			*ev = w->entry[i].ev;
			rc = 1;
		}
	pthread_mutex_unlock(&w->mutex);
	return rc;
}
