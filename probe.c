/* SPDX-License-Identifier: ISC */
/*
 * Probes.
 *
 * The database is opened and pinned as replicate does it, and closed again; a
 * rollback-journal database stays one.  Where the replica is, or, if it is not
 * there yet, in the nearest directory above that is, a file is written, synced
 * and read back.  Its name is .litestream-check-PID, which is no name of a
 * replica file, and it is unlinked before the first byte is written: a crash
 * leaves nothing, or an empty file.  No directory is made.
 *
 * What the replica says of itself is read by the code that would resume it.
 * While a replicator has the locks all that is left to it.
 */
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "disk.h"
#include "pages.h"
#include "probe.h"
#include "resume.h"
#include "state.h"
#include "store.h"

#define PROBE_BYTES 65536
#define MB 1000000
#define MOUNTS "/proc/self/mounts"
#define PATH_SIZE 4096
#define TYPE_SIZE 64

static void
add(struct probe *p, enum probe_result result, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
add(struct probe *p, enum probe_result result, const char *fmt, ...)
{
	char text[sizeof ((struct err *)NULL)->text];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	text_make_plain(text, sizeof text);
	p->line = xgrow(p->line, p->n, &p->cap, sizeof *p->line);
	p->line[p->n].result = result;
	p->line[p->n].text = xstrdup(text);
	p->line[p->n++].hint = NULL;
	p->failed |= result == PROBE_FAILURE;
}

void
probe_error(struct probe *p, const struct err *e)
{
	add(p, PROBE_FAILURE, "%s", e->text);
	if (e->hint[0] != '\0')
		p->line[p->n - 1].hint = xstrdup(e->hint);
}

void
probe_free(struct probe *p)
{
	while (p->n > 0) {
		free(p->line[--p->n].text);
		free(p->line[p->n].hint);
	}
	free(p->line);
	memset(p, 0, sizeof *p);
}

void
probe_host(struct probe *p)
{
	add(p, PROBE_OK, "uid %ld: run check as the user of the replicator",
	    (long)geteuid());
	if (db_sqlite_has_reset_bug())
		add(p, PROBE_WARNING, "SQLite %s: has the WAL-reset bug, which "
		    "can lose commits of an application that writes and "
		    "checkpoints by several connections", db_sqlite_version());
	else
		add(p, PROBE_OK, "SQLite %s", db_sqlite_version());
}

/* The nearest directory that is there, path itself or above; malloc'd. */
static char *
nearest(const char *path)
{
	char *at = xstrdup(path), *up;
	struct stat st;

	while (strcmp(at, "/") != 0 && strcmp(at, ".") != 0 &&
	    stat(at, &st) != 0) {
		up = path_dir(at);
		free(at);
		at = up;
	}
	return at;
}

/* Octal escapes, as of a blank, replaced in place. */
static void
unescape(char *s)
{
	unsigned c;
	char *to = s;

	for (; *s != '\0'; s++)
		if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
			*to++ = (char)c;
			s += 3;
		} else
			*to++ = *s;
	*to = '\0';
}

/* What kind of file system path is on, as far as the system says. */
static void
file_system(const char *path, char type[TYPE_SIZE])
{
	FILE *f = fopen(MOUNTS, "r");
	char at[PATH_SIZE], kind[TYPE_SIZE];
	size_t n, best = 0;

	snprintf(type, TYPE_SIZE, "file system of unknown kind");
	if (f == NULL)
		return;
	while (fscanf(f, "%*s %4095s %63s %*[^\n]", at, kind) == 2) {
		unescape(at);
		n = strcmp(at, "/") == 0 ? 0 : strlen(at);
		if (strncmp(path, at, n) == 0 &&
		    (path[n] == '/' || path[n] == '\0') && n >= best) {
			best = n;
			memcpy(type, kind, sizeof kind);
		}
	}
	fclose(f);
}

static bool
is_network(const char *type)
{
	static const char *const kinds[] = { "nfs", "cifs", "smb", "9p", "fuse",
	    "ceph", "gluster", "afs" };
	size_t i;

	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strncmp(type, kinds[i], strlen(kinds[i])) == 0)
			return true;
	return false;
}

/* Links, and a file that is written, synced and read back without a name. */
static int
try_file(const char *path, const char *dir, const char *other, bool *links,
    struct err *e)
{
	uint8_t *wrote = xmalloc(2 * PROBE_BYTES), *got = wrote + PROBE_BYTES;
	struct disk_owner o;
	struct err ignored;
	int fd, rc = -1;

	disk_owner_private(&o);
	random_bytes(wrote, PROBE_BYTES);
	if ((fd = disk_create(path, &o, e)) < 0)
		goto out;
	*links = disk_link(path, other, &ignored) == 0;
	disk_unlink(other, &ignored);
	if (disk_unlink(path, e) != 0 ||
	    disk_write(fd, wrote, PROBE_BYTES, path, e) != 0 ||
	    disk_sync(fd, path, e) != 0 ||
	    disk_pread(fd, got, PROBE_BYTES, 0, path, e) < 0)
		goto out;
	rc = memcmp(wrote, got, PROBE_BYTES) == 0 ? disk_sync_dir(dir, e) :
	    err_set(e, ERR_DAMAGED, "%s: reads other bytes than were written",
	    path);
out:
	disk_unlink(path, &ignored);
	if (fd >= 0)
		close(fd);
	free(wrote);
	return rc;
}

/* Whether there are locks: 1, 0, -1. */
static int
try_lock(const char *path, struct err *e)
{
	struct disk_owner o;
	struct err ignored;
	int fd, rc;

	disk_owner_private(&o);
	rc = disk_lock(path, &o, &fd, e);
	disk_unlink(path, &ignored);
	if (rc == 0 && fd < 0)
		return 0;
	if (rc == 0)
		close(fd);
	return rc == 0 ? 1 : -1;
}

static void
probe_directory(struct probe *p, const char *root, const char *dir)
{
	char *path = xasprintf("%s/.litestream-check-%ld", dir, (long)getpid());
	char *other = xasprintf("%s-link", path), type[TYPE_SIZE];
	struct statvfs fs;
	bool links = false;
	struct err e;
	int locks;

	file_system(dir, type);
	if ((locks = try_lock(path, &e)) < 0 ||
	    try_file(path, dir, other, &links, &e) != 0 ||
	    (statvfs(dir, &fs) != 0 && err_sys(&e, dir, "statvfs") != 0)) {
		probe_error(p, &e);
		goto out;
	}
	add(p, PROBE_OK, "replica %s: %s%s%s, written, synced and read back, "
	    "%" PRIu64 " MB free", root, type, root == dir ? "" :
	    ", not there yet: tried in ", root == dir ? "" : dir,
	    (uint64_t)fs.f_bavail * fs.f_frsize / MB);
	if (locks == 0)
		add(p, PROBE_WARNING, "replica %s: no locks there: make sure "
		    "that only one process replicates", root);
	if (!links)
		add(p, PROBE_WARNING, "replica %s: no hard links there: "
		    "snapshots take twice the space", root);
out:
	free(other);
	free(path);
}

/* The place of the replica, against the one it had. */
static bool
is_away(const struct pages *t, const char *root, const char *dir)
{
	uint64_t dev, fsid;
	struct store_list l;
	struct err ignored;
	bool empty;

	if (t->root_dev == 0 || t->txid == 0 ||
	    resume_locate(dir, &dev, &fsid, &ignored) != 0 ||
	    dev == t->root_dev || (fsid != 0 && fsid == t->root_fsid) ||
	    store_list(root, -1, &l, &ignored) != 0)
		return false;
	empty = l.n == 0;
	store_list_free(&l);
	return empty;
}

/* What replicate would find there. */
static void
probe_chain(struct probe *p, const struct pair_config *cf, const char *meta,
    struct pages *t, uint32_t page_size)
{
	struct resume r;
	struct err e;

	memset(&r, 0, sizeof r);
	r.root = cf->root;
	r.db_path = cf->db_path;
	r.meta = meta;
	r.page_size = page_size;
	r.adopt = cf->adopt;
	if (resume_table(&r, t, &e) != 0 || resume_identity(&r, t, &e) != 0)
		probe_error(p, &e);
	else if (r.stranger) {
		err_set(&e, ERR_FOREIGN, "replica %s: cannot be told to be of "
		    "this database without comparing all pages", cf->root);
		err_hint(&e, "litestream replicate -once, which compares, and "
		    "refuses it if it is not");
		probe_error(p, &e);
	} else if (r.rebase[0] != '\0')
		add(p, PROBE_WARNING, "replica %s: will be continued by a full "
		    "image: %s", cf->root, r.rebase);
	else
		add(p, PROBE_OK, "replica %s: %s", cf->root, r.empty ?
		    "new, the first backup is to be made" :
		    "of this database, to be continued");
	resume_free(&r);
}

/* Who has the lock in dir: true if anybody. */
static bool
probe_lock(struct probe *p, const char *dir, long *pid)
{
	struct err e;
	int rc = state_running(dir, pid, &e);

	if (rc < 0)
		probe_error(p, &e);
	return rc == 1;
}

static void
probe_replica(struct probe *p, const struct pair_config *cf, const char *meta,
    uint32_t page_size)
{
	char *pages_path = xasprintf("%s/pages", meta);
	char *dir = nearest(cf->root);
	long pid, other;
	bool busy = probe_lock(p, meta, &pid);
	struct stat st;
	struct pages t;
	struct err e;

	pages_init(&t);
	probe_directory(p, cf->root, strcmp(dir, cf->root) == 0 ? cf->root :
	    dir);
	if (probe_lock(p, cf->root, &other) && (!busy || other != pid))
		add(p, PROBE_FAILURE, "replica %s: locked by another process "
		    "(pid %ld)", cf->root, other);
	else if (busy)
		add(p, PROBE_OK, "is being replicated, by pid %ld", pid);
	else if (stat(cf->db_path, &st) == 0 &&
	    pages_load(&t, pages_path, (uint64_t)st.st_size, &e) < 0)
		probe_error(p, &e);
	else if (is_away(&t, cf->root, dir))
		add(p, PROBE_FAILURE, "replica %s: empty, and on another file "
		    "system than before: not mounted?", cf->root);
	else if (page_size != 0)
		probe_chain(p, cf, meta, &t, page_size);
	pages_free(&t);
	free(dir);
	free(pages_path);
}

/* The directory for what we know, or the one that it will be made in. */
static void
probe_meta(struct probe *p, const char *meta)
{
	char *dir = nearest(meta);
	struct stat st;
	struct err e;

	if (lstat(meta, &st) == 0 && S_ISLNK(st.st_mode))
		add(p, PROBE_FAILURE, "%s: is a symbolic link", meta);
	else if (access(dir, R_OK | W_OK | X_OK) != 0) {
		err_sys(&e, dir, "cannot be written");
		probe_error(p, &e);
	} else
		add(p, PROBE_OK, "local state %s", meta);
	free(dir);
}

/* Its page size; 0 if it cannot be opened. */
static uint32_t
probe_database(struct probe *p, const char *path)
{
	char type[TYPE_SIZE];
	uint32_t size = 0;
	struct db *db;
	struct stat st;
	struct err e;

	file_system(path, type);
	if (is_network(type))
		add(p, PROBE_WARNING, "database %s: %s: write-ahead logging "
		    "needs shared memory, which is not shared there", path,
		    type);
	if (db_open(&db, path, &e) != 0) {
		if (e.kind != ERR_ABSENT)
			probe_error(p, &e);
		else
			add(p, PROBE_WARNING, "database %s: not there yet: it "
			    "is waited for, but not by -once", path);
		return 0;
	}
	if (db_pin(db, &e) != 0)
		probe_error(p, &e);
	else {
		size = db_page_size(db);
		add(p, PROBE_OK, "database %s: %s, opened and pinned, page "
		    "size %" PRIu32 ", %s, WAL %" PRIu64 " bytes", path, type,
		    size, db_is_wal(db) ? "journal mode wal" : "with a "
		    "rollback journal, will be switched to WAL",
		    stat(db_wal_path(db), &st) == 0 ? (uint64_t)st.st_size :
		    0);
	}
	db_close(db);
	return size;
}

void
probe_pair(struct probe *p, const struct pair_config *cf)
{
	char *meta = cf->meta != NULL ? xstrdup(cf->meta) :
	    state_meta(cf->db_path);
	uint32_t page_size = probe_database(p, cf->db_path);

	probe_meta(p, meta);
	probe_replica(p, cf, meta, page_size);
	free(meta);
}
