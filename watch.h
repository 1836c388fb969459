/* SPDX-License-Identifier: ISC */
/*
 * Wakes: which file or directory was touched.  By inotify where there is one;
 * elsewhere nothing is ever reported, and the caller polls.
 */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

struct watch;

enum watch_kind {
	WATCH_WRITES,	/* of one file */
	WATCH_NAMES,	/* created, removed, renamed in a directory */
	WATCH_TOUCHES	/* times of one file set */
};

struct watch_event {
	size_t id;
	enum watch_kind kind;
};

struct watch *watch_new(void);
void	watch_free(struct watch *w);
/* Becomes readable with events; -1: poll. */
int	watch_fd(const struct watch *w);
/*
 * Reports events at path under id; false: not possible there, poll.  base: of
 * a directory only what happens to names that begin so; NULL: all.
 */
bool	watch_add(struct watch *w, const char *path, enum watch_kind kind,
	    const char *base, size_t id);
/* Forgets all of id. */
void	watch_drop(struct watch *w, size_t id);
/* The next event without waiting: 1 or 0.  One call of several for the same
 * id and kind may be enough: what happened must be looked up. */
int	watch_next(struct watch *w, struct watch_event *ev);

#endif
