/* SPDX-License-Identifier: ISC */
/*
 * Directories.
 *
 * A name that appears is not yet a database: its first page is written later,
 * which no watch on the directory reports.  So what is there is looked at some
 * moments after the last event, with growing pauses.  A directory is watched
 * before it is read: what comes in between is seen by one of the two.
 *
 * Where the system reports nothing, it is looked each ten seconds; elsewhere
 * only whether it still is the same directory, as no event tells that another
 * file system was mounted there, or a link turned.
 *
 * Each has a thread, so that one on a dead disk holds up nobody.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dirs.h"
#include "scan.h"
#include "setup.h"

#define FIRST_LOOK_MS 250	/* after the last event; then 4 times */
#define LAST_LOOK_MS 16000	/* as long, up to this */
#define POLL_MS 10000
#define STOP_STEP_MS 1		/* between looks for the ends of threads */

struct dir {
	struct dirs *all;
	const struct config_db *entry;
	pthread_t thread;
	struct watch *watch;
	bool blind;		/* there is something without events */
	bool quiet;		/* long since the last event */
	int64_t look_at, wait_ms;
	struct disk_stat was;	/* the directory, when looked at */
	struct err last;	/* said last */
};

struct dirs {
	const struct config *c;
	struct fleet *fleet;
	int stop[2];		/* a pipe that nobody writes to */
	atomic_size_t running;
	size_t n;
	struct dir dir[];
};

/* Watches the directories; what is new is seen by the next scan. */
static int
watch_dirs(struct dir *d, struct err *e)
{
	char **path;
	size_t k, n;

	watch_drop(d->watch, 0);
	if (scan_dirs(d->entry, &path, &n, e) != 0)
		return -1;
	for (k = 0; k < n; k++)
		d->blind |= !watch_add(d->watch, path[k], WATCH_NAMES, NULL,
		    0);
	scan_free(path, n);
	return 0;
}

static void
add(const struct dir *d, const char *path)
{
	struct config_db *entry = config_dir_entry(d->entry, path);
	struct job_config cf;
	struct err e;

	setup_job(&cf, d->all->c, entry);
	cf.persistent = cf.found = true;
	if (fleet_add(d->all->fleet, &cf, &e) == 0)
		log_line(LOG_INFO, "database found", "path", path, NULL);
	else if (e.kind != ERR_USAGE &&	/* it is there, by a link */
	    e.kind != ERR_BUSY)		/* the process ends */
		log_line(LOG_ERROR, "cannot replicate", "path", path, "error",
		    e.text, NULL);
	config_db_free(entry);
}

static bool
is_beneath(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '/' ||
	    (n > 0 && dir[n - 1] == '/'));
}

/* What has lost its name. */
static void
remove_gone(const struct dir *d, char **known, size_t n)
{
	struct stat st;
	size_t i;

	for (i = 0; i < n; i++)
		if (is_beneath(known[i], d->entry->dir) &&
		    lstat(known[i], &st) != 0 && errno == ENOENT &&
		    fleet_remove(d->all->fleet, known[i]))
			log_line(LOG_INFO, "database has gone", "path",
			    known[i], NULL);
}

static int
look(struct dir *d, struct err *e)
{
	struct fleet *f = d->all->fleet;
	char **known, **path;
	size_t n_known, n, k;
	struct err absent;
	int rc = -1;

	memset(&d->was, 0, sizeof d->was);
	disk_stat(d->entry->dir, &d->was, &absent);
	known = fleet_paths(f, &n_known);
	if (watch_dirs(d, e) == 0 && scan_dir(d->entry, (const char *const *)
	    known, n_known, fleet_claims(f), &path, &n, e) == 0) {
		for (k = 0; k < n; k++)
			add(d, path[k]);
		scan_free(path, n);
		remove_gone(d, known, n_known);
		rc = 0;
	}
	scan_free(known, n_known);
	return rc;
}

/* Whether it is another directory than when it was looked at. */
static bool
is_other(const struct dir *d)
{
	struct disk_stat st;
	struct err absent;

	return disk_stat(d->entry->dir, &st, &absent) != 0 ||
	    st.dev != d->was.dev || st.ino != d->was.ino;
}

/* An error that lasts is said once. */
static void
report(struct dir *d, const struct err *e)
{
	if (e->kind != ERR_NONE && (d->last.kind == ERR_NONE ||
	    strcmp(d->last.text, e->text) != 0))
		log_line(LOG_ERROR, "cannot look for databases", "error",
		    e->text, NULL);
	d->last = *e;
}

/* After an event, or when the moment has come. */
static void
look_again(struct dir *d)
{
	int64_t now = time_mono_ms();
	struct watch_event ev;
	struct err e;

	while (watch_next(d->watch, &ev) == 1) {
		d->quiet = false;
		d->wait_ms = FIRST_LOOK_MS;
		d->look_at = now + d->wait_ms;
	}
	if (now < d->look_at)
		return;
	if (d->quiet && !d->blind && !is_other(d)) {
		d->look_at = now + POLL_MS;
		return;
	}
	d->blind = watch_fd(d->watch) < 0;
	e.kind = ERR_NONE;
	d->blind |= look(d, &e) != 0;
	report(d, &e);
	/* Who leaves may come again. */
	d->blind |= fleet_is_leaving(d->all->fleet);
	d->quiet = d->wait_ms >= LAST_LOOK_MS;
	if (!d->quiet)
		d->wait_ms *= 4;
	d->look_at = now + (d->quiet ? POLL_MS : d->wait_ms);
}

static void *
run(void *arg)
{
	struct dir *d = arg;
	struct pollfd p[] = {
		{ .fd = d->all->stop[0], .events = POLLIN },
		{ .fd = watch_fd(d->watch), .events = POLLIN },
	};
	int64_t wait;

	while (p[0].revents == 0) {
		look_again(d);
		wait = d->look_at - time_mono_ms();
		poll(p, 2, wait > 0 ? (int)wait : 0);
	}
	atomic_fetch_sub(&d->all->running, 1);
	return NULL;
}

static int
start(struct dirs *all, const struct config_db *entry, struct err *e)
{
	struct dir *d = &all->dir[all->n];

	d->all = all;
	d->entry = entry;
	d->wait_ms = FIRST_LOOK_MS;
	d->last.kind = ERR_NONE;
	d->watch = watch_new();
	atomic_fetch_add(&all->running, 1);
	if (pthread_create(&d->thread, NULL, run, d) == 0) {
		all->n++;
		return 0;
	}
	atomic_fetch_sub(&all->running, 1);
	watch_free(d->watch);
	return err_set(e, ERR_SYSTEM, "%s: cannot start a thread",
	    entry->dir);
}

int
dirs_start(struct dirs **out, const struct config *c, struct fleet *f,
    struct err *e)
{
	struct dirs *d;
	size_t i;
	int rc = 0;

	*out = NULL;
	if (c == NULL || !config_watches(c))
		return 0;
	d = xcalloc(1, sizeof *d + c->n_db * sizeof d->dir[0]);
	d->c = c;
	d->fleet = f;
	if (pipe(d->stop) != 0) {
		free(d);
		return err_sys(e, "pipe", "open");
	}
	fcntl(d->stop[0], F_SETFD, FD_CLOEXEC);
	fcntl(d->stop[1], F_SETFD, FD_CLOEXEC);
	*out = d;
	for (i = 0; i < c->n_db && rc == 0; i++)
		if (c->db[i].watch)
			rc = start(d, &c->db[i], e);
	return rc;
}

bool
dirs_stop(struct dirs *d, int64_t timeout_ms)
{
	int64_t until = time_mono_ms() + timeout_ms;

	if (d == NULL)
		return true;
	close(d->stop[1]);	/* readers see the end */
	while (atomic_load(&d->running) > 0) {
		if (time_mono_ms() >= until)
			return false;
		sleep_ms(STOP_STEP_MS);
	}
	while (d->n > 0) {
		pthread_join(d->dir[--d->n].thread, NULL);
		watch_free(d->dir[d->n].watch);
	}
	close(d->stop[0]);
	free(d);
	return true;
}
