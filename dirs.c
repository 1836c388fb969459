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
 */
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dirs.h"
#include "scan.h"
#include "setup.h"

#define FIRST_LOOK_MS 250	/* after the last event; then 4 times */
#define LAST_LOOK_MS 16000	/* as long, up to this */
#define POLL_MS 10000

struct dirs {
	const struct config *c;
	struct watch *watch;
	bool blind;		/* there is something without events */
	bool quiet;		/* long since the last event */
	int64_t look_at, wait_ms;
	struct disk_stat *was;	/* of each entry's directory, when looked at */
	struct err last;	/* said last */
};

struct dirs *
dirs_new(const struct config *c)
{
	struct dirs *d;

	if (!config_watches(c))
		return NULL;
	d = xcalloc(1, sizeof *d);
	d->c = c;
	d->was = xcalloc(c->n_db, sizeof *d->was);
	d->watch = watch_new();
	d->wait_ms = FIRST_LOOK_MS;
	d->last.kind = ERR_NONE;
	return d;
}

void
dirs_free(struct dirs *d)
{
	if (d == NULL)
		return;
	watch_free(d->watch);
	free(d->was);
	free(d);
}

int
dirs_fd(const struct dirs *d)
{
	return watch_fd(d->watch);
}

int64_t
dirs_next(const struct dirs *d)
{
	return d->look_at;
}

/* Watches the directories of entry i; what is new is seen by the next scan. */
static int
watch_dirs(struct dirs *d, size_t i, struct err *e)
{
	char **path;
	size_t k, n;

	watch_drop(d->watch, i);
	if (scan_dirs(&d->c->db[i], &path, &n, e) != 0)
		return -1;
	for (k = 0; k < n; k++)
		d->blind |= !watch_add(d->watch, path[k], WATCH_NAMES, NULL,
		    i);
	scan_free(path, n);
	return 0;
}

static void
add(struct dirs *d, const struct config_db *dir, const char *path,
    struct fleet *f)
{
	struct config_db *entry = config_dir_entry(dir, path);
	struct job_config cf;
	struct err e;

	setup_job(&cf, d->c, entry);
	cf.persistent = cf.found = true;
	if (fleet_add(f, &cf, &e) == 0)
		log_line(LOG_INFO, "database found", "path", path, NULL);
	else if (e.kind != ERR_USAGE)	/* else it is there, by a link */
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
remove_gone(const struct config_db *dir, char **known, size_t n,
    struct fleet *f)
{
	struct stat st;
	size_t i;

	for (i = 0; i < n; i++)
		if (is_beneath(known[i], dir->dir) &&
		    lstat(known[i], &st) != 0 && errno == ENOENT &&
		    fleet_remove(f, known[i]))
			log_line(LOG_INFO, "database has gone", "path",
			    known[i], NULL);
}

static int
look(struct dirs *d, size_t i, struct fleet *f, struct err *e)
{
	const struct config_db *dir = &d->c->db[i];
	char **known, **path;
	size_t n_known, n, k;
	struct err absent;
	int rc = -1;

	memset(&d->was[i], 0, sizeof d->was[i]);
	disk_stat(dir->dir, &d->was[i], &absent);
	known = fleet_paths(f, &n_known);
	if (watch_dirs(d, i, e) == 0 && scan_dir(dir, (const char *const *)
	    known, n_known, &path, &n, e) == 0) {
		for (k = 0; k < n; k++)
			add(d, dir, path[k], f);
		scan_free(path, n);
		remove_gone(dir, known, n_known, f);
		rc = 0;
	}
	scan_free(known, n_known);
	return rc;
}

/* Whether one is another directory than when it was looked at. */
static bool
is_other(const struct dirs *d)
{
	struct disk_stat st;
	struct err absent;
	size_t i;

	for (i = 0; i < d->c->n_db; i++)
		if (d->c->db[i].watch && (disk_stat(d->c->db[i].dir, &st,
		    &absent) != 0 || st.dev != d->was[i].dev ||
		    st.ino != d->was[i].ino))
			return true;
	return false;
}

/* An error that lasts is said once. */
static void
report(struct dirs *d, const struct err *e)
{
	if (e->kind != ERR_NONE && (d->last.kind == ERR_NONE ||
	    strcmp(d->last.text, e->text) != 0))
		log_line(LOG_ERROR, "cannot look for databases", "error",
		    e->text, NULL);
	d->last = *e;
}

void
dirs_look(struct dirs *d, struct fleet *f)
{
	int64_t now = time_mono_ms();
	struct watch_event ev;
	struct err e, last;
	size_t i;

	last.kind = ERR_NONE;
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
	for (i = 0; i < d->c->n_db; i++)
		if (d->c->db[i].watch && look(d, i, f, &e) != 0) {
			last = e;
			d->blind = true;
		}
	report(d, &last);
	d->blind |= fleet_is_leaving(f);	/* and may come again */
	d->quiet = d->wait_ms >= LAST_LOOK_MS;
	if (!d->quiet)
		d->wait_ms *= 4;
	d->look_at = now + (d->quiet ? POLL_MS : d->wait_ms);
}
