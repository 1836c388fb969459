/* SPDX-License-Identifier: ISC */
/*
 * litestream reset: forget what the meta directory holds.
 *
 * That is a cache: the page table, the status file, and the local copies of
 * another writer, which are its position.  Without them the next pass compares
 * database and replica page by page, and writes what differs.  The replica is
 * not touched.  The lock file stays; while it is held, nothing is removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "cmd_reset.h"
#include "disk.h"
#include "opt.h"
#include "resume.h"
#include "state.h"
#include "store.h"
#include "target.h"

static const char help[] =
"usage: litestream reset [flags] DB_PATH\n"
"\n"
"Forgets what is remembered beside a database, not its replica.  The next\n"
"pass compares the two.\n"
"\n"
"  -dry-run       only print what would be removed\n"
"  -config PATH   configuration file, for meta-path\n"
"  -no-expand-env leave $NAME in it alone\n";

struct paths {
	char **path;
	size_t n, cap;
};

static void
push(struct paths *p, char *path)
{
	p->path = xgrow(p->path, p->n, &p->cap, sizeof *p->path);
	p->path[p->n++] = path;
}

static void
push_file(struct paths *p, char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		push(p, path);
	else
		free(path);
}

/* What there is to remove. */
static int
collect(const char *meta, struct paths *p, struct err *e)
{
	struct store_list l;
	size_t i;

	if (store_list(meta, -1, &l, e) != 0)
		return -1;
	push_file(p, xasprintf("%s/pages", meta));
	push_file(p, state_path(meta));
	for (i = 0; i < l.n; i++)
		push(p, store_path(meta, &l.file[i]));
	store_list_free(&l);
	return 0;
}

/* Not by their paths: the directory can be another user's, and names in it
 * become links. */
static int
forget(const char *meta, struct err *e)
{
	char *state = state_path(meta);
	int fd = disk_open_dir(AT_FDCWD, meta, false, meta, e), rc = -1;

	if (fd < 0)
		goto out;
	rc = disk_unlink_in(fd, "pages", meta, e);
	if (rc == 0)
		rc = disk_unlink_in(fd, path_base(state), meta, e);
	close(fd);
	if (rc == 0)
		rc = resume_drop_copies(meta, e);
	if (rc == 0)
		rc = disk_sync_dir(meta, e);
out:
	free(state);
	return rc;
}

static int
reset_meta(const char *db, const char *meta, bool dry, struct err *e)
{
	char *lock = xasprintf("%s/.lock", meta);
	struct paths p = { .path = NULL };
	struct disk_owner o;
	int fd = -1, rc = -1;
	size_t i;

	if (!dry && (disk_owner_of(db, &o, e) != 0 ||
	    disk_lock(lock, &o, &fd, e) != 0))
		goto out;
	if (collect(meta, &p, e) != 0)
		goto out;
	printf(dry ? "Dry run: local Litestream state would be reset for: %s\n"
	    : "Resetting local Litestream state for: %s\n", db);
	if (dry)
		puts(p.n > 0 ? "Files that would be removed:" :
		    "No local files would be removed.");
	for (i = 0; i < p.n; i++)
		printf(dry ? "  %s\n" : "Removing: %s\n", p.path[i]);
	if (dry && p.n > 0)
		puts("No files were removed.");
	rc = dry ? 0 : forget(meta, e);
	if (rc == 0 && !dry)
		puts("Reset complete. The next pass compares the database "
		    "with its replica.");
out:
	for (i = 0; i < p.n; i++)
		free(p.path[i]);
	free(p.path);
	if (fd >= 0)
		close(fd);
	free(lock);
	return rc;
}

static int
reset(const struct target *t, bool dry, struct err *e)
{
	char *meta = t->meta != NULL ? xstrdup(t->meta) : state_meta(t->db);
	struct stat st;
	int rc = 0;

	if (stat(t->db, &st) != 0)
		rc = errno == ENOENT ? err_set(e, ERR_SYSTEM, "database does "
		    "not exist: %s", t->db) : err_sys(e, t->db, "stat");
	else if (lstat(meta, &st) == 0)
		rc = reset_meta(t->db, meta, dry, e);
	else if (errno == ENOENT)
		printf("No local state to reset for %s\nMeta directory does "
		    "not exist: %s\n", t->db, meta);
	else
		rc = err_sys(e, meta, "stat");
	free(meta);
	return rc;
}

int
cmd_reset(int argc, char **argv)
{
	bool dry = false, no_expand = false;
	const char *config = "";
	const struct opt opts[] = {
		{ "dry-run", OPT_BOOL, &dry },
		{ "config", OPT_STRING, &config },
		{ "no-expand-env", OPT_BOOL, &no_expand },
		{ NULL, OPT_BOOL, NULL }
	};
	struct targets l;
	struct err e;
	int at = opt_parse(opts, argc, argv, &e), rc;

	if (at == OPT_HELP) {
		fputs(help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	if (at == OPT_BAD) {
		err_hint(&e, "litestream reset -h");
		return cmd_fail(&e);
	}
	if (argc - at != 1)
		return cmd_usage("litestream reset /path/to/db", argc == at ?
		    "database path required" : "too many arguments");
	if (target_load(&l, 1, argv + at, config, !no_expand, &e) != 0)
		return cmd_fail(&e);
	rc = reset(&l.t[0], dry, &e);
	target_free(&l);
	return cmd_check_stdout(rc == 0 ? CMD_OK : cmd_fail(&e));
}
