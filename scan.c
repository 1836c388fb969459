/* SPDX-License-Identifier: ISC */
/*
 * The databases of a directory.
 *
 * POSIX locks of a file end when the process closes any descriptor of it, so
 * what SQLite may have open in this process is never opened here: neither a
 * file that is claimed, whatever its name (it is claimed here while its first
 * bytes are read), nor anything that is named as a -wal, -shm or -journal.
 * What is not a regular file is not opened either: a fifo would block.
 */
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scan.h"

#define MAGIC "SQLite format 3"		/* with its end: 16 bytes */
#define META_SUFFIX "-litestream"

struct file {
	char *path;
	dev_t dev;
	ino_t ino;
	bool link;	/* a symbolic link */
	bool known;
};

struct scan {
	const struct config_db *d;
	bool replicas;		/* look for these */
	const char *const *known;
	size_t n_known;
	struct claims *claims;
	struct file *file;
	size_t n, cap;
	char **dir;		/* directories to be read */
	size_t n_dirs, dirs_cap;
};

static bool
ends_in(const char *s, const char *suffix)
{
	size_t n = strlen(s), k = strlen(suffix);

	return n >= k && strcmp(s + n - k, suffix) == 0;
}

static bool
is_sidecar(const char *name)
{
	return ends_in(name, "-wal") || ends_in(name, "-shm") ||
	    ends_in(name, "-journal");
}

static bool
is_database(const char *path)
{
	char magic[sizeof(MAGIC)];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool is;

	if (fd < 0)
		return false;
	is = read(fd, magic, sizeof(magic)) == (ssize_t)sizeof(magic) &&
	    memcmp(magic, MAGIC, sizeof(magic)) == 0;
	close(fd);
	return is;
}

static void
push_file(struct scan *s, char *path, const struct stat *st, bool link,
    bool known)
{
	struct file *f;

	s->file = xgrow(s->file, s->n, &s->cap, sizeof(*s->file));
	f = &s->file[s->n++];
	f->path = path;
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->link = link;
	f->known = known;
}

static void
push_dir(struct scan *s, char *path)
{
	s->dir = xgrow(s->dir, s->n_dirs, &s->dirs_cap, sizeof(*s->dir));
	s->dir[s->n_dirs++] = path;
}

/* Whether a directory is a replica: ours, or one of Litestream 0.3. */
static bool
is_replica(const char *path)
{
	static const char *const in[] = { "ltx", "generations" };
	struct stat st;
	bool is = false;
	char *name;
	size_t i;

	for (i = 0; i < sizeof in / sizeof in[0] && !is; i++) {
		name = xasprintf("%s/%s", path, in[i]);
		is = stat(name, &st) == 0 && S_ISDIR(st.st_mode);
		free(name);
	}
	return is;
}

/* Takes path, of name, a directory within d->root. */
static void
look_for_replica(struct scan *s, char *path, const char *name)
{
	struct stat st;
	const char *within = path + strlen(s->d->root);

	if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		goto out;
	if (!is_replica(path)) {
		if (!s->d->recursive)
			goto out;
		push_dir(s, path);
		return;
	}
	if (!is_sidecar(name) && fnmatch(s->d->pattern, name, 0) == 0)
		push_file(s, xasprintf("%s%s", s->d->dir, within), &st, false,
		    false);
out:
	free(path);
}

/* Takes path, which may have gone meanwhile. */
static void
look_at(struct scan *s, char *path, const char *name)
{
	struct stat st;
	bool link;

	if (s->replicas) {
		look_for_replica(s, path, name);
		return;
	}
	if (lstat(path, &st) != 0)
		goto out;
	if (S_ISDIR(st.st_mode)) {
		if (!s->d->recursive || strcmp(path, s->d->root) == 0 ||
		    (name[0] == '.' && ends_in(name, META_SUFFIX)))
			goto out;
		push_dir(s, path);
		return;
	}
	link = S_ISLNK(st.st_mode);
	if (fnmatch(s->d->pattern, name, 0) != 0 || is_sidecar(name) ||
	    (link && stat(path, &st) != 0) || !S_ISREG(st.st_mode))
		goto out;
	push_file(s, path, &st, link, false);
	return;
out:
	free(path);
}

static int
read_dir(struct scan *s, const char *path, bool top, struct err *e)
{
	const char *slash = ends_in(path, "/") ? "" : "/";
	struct dirent *entry;
	DIR *dir = opendir(path);
	int rc = 0;

	if (dir == NULL)
		return errno == ENOENT && !top ? 0 :
		    err_sys(e, path, "cannot look for databases");
	for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0)
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			look_at(s, xasprintf("%s%s%s", path, slash,
			    entry->d_name), entry->d_name);
	if (errno != 0)
		rc = err_sys(e, path, "cannot look for databases");
	closedir(dir);
	return rc;
}

/* By identity; the known first, and links last. */
static int
compare(const void *va, const void *vb)
{
	const struct file *a = va, *b = vb;

	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->known != b->known)
		return a->known ? -1 : 1;
	if (a->link != b->link)
		return a->link ? 1 : -1;
	return strcmp(a->path, b->path);
}

static int
compare_paths(const void *va, const void *vb)
{
	return strcmp(*(char *const *)va, *(char *const *)vb);
}

/* Whether it is a database, and not one of those. */
static bool
is_new(const struct scan *s, const struct file *f)
{
	struct disk_stat st = { .dev = f->dev, .ino = f->ino };
	struct err busy;
	size_t i;
	bool is;

	for (i = 0; i < s->n_known; i++)
		if (strcmp(s->known[i], f->path) == 0)
			return false;
	if (claims_take(s->claims, f->path, &st, &busy) != 0)
		return false;
	is = is_database(f->path);
	claims_drop(s->claims, f->path);
	return is;
}

/* One path for each file that is a database and not known; how many files that
 * are one were matched, known or not. */
static size_t
choose(struct scan *s, char **paths, size_t *n)
{
	const struct file *f, *first = NULL;
	size_t matched = 0;

	if (s->n > 0)
		qsort(s->file, s->n, sizeof(*s->file), compare);
	for (f = s->file; s->n > 0 && f < s->file + s->n; f++) {
		if (first != NULL && first->dev == f->dev &&
		    first->ino == f->ino) {
			matched += first->known && !f->known;
			continue;
		}
		first = f;
		if (!f->known && is_new(s, f)) {
			paths[(*n)++] = xstrdup(f->path);
			matched++;
		}
	}
	if (*n > 0)
		qsort(paths, *n, sizeof(*paths), compare_paths);
	return matched;
}

/* Reads the directories. */
static int
walk(struct scan *s, struct err *e)
{
	size_t i;
	int rc = 0;

	push_dir(s, xstrdup(s->replicas ? s->d->root : s->d->dir));
	for (i = 0; i < s->n_dirs && rc == 0; i++)
		rc = read_dir(s, s->dir[i], i == 0, e);
	return rc;
}

static void
free_files(struct scan *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		free(s->file[i].path);
	free(s->file);
}

int
scan_dir(const struct config_db *d, const char *const *known,
    size_t n_known, struct claims *claims, char ***paths, size_t *n,
    struct err *e)
{
	struct scan s = { .d = d, .known = known, .n_known = n_known,
	    .claims = claims };
	struct stat st;
	size_t i;
	int rc;

	*paths = NULL;
	*n = 0;
	rc = walk(&s, e);
	for (i = 0; i < n_known && rc == 0 && claims == NULL; i++)
		if (stat(known[i], &st) == 0)
			push_file(&s, xstrdup(known[i]), &st, false, true);
	if (rc == 0) {
		*paths = xcalloc(s.n, sizeof(**paths));
		if (choose(&s, *paths, n) == 0 && !d->watch) {
			rc = err_set(e, ERR_SYSTEM, "no SQLite databases "
			    "found in directory %s with pattern %s", d->dir,
			    d->pattern);
			scan_free(*paths, *n);
			*paths = NULL;
		}
	}
	free_files(&s);
	scan_free(s.dir, s.n_dirs);
	return rc;
}

int
scan_dirs(const struct config_db *d, char ***paths, size_t *n, struct err *e)
{
	struct scan s = { .d = d };
	int rc = walk(&s, e);

	free_files(&s);
	*paths = s.dir;
	*n = s.n_dirs;
	if (rc == 0)
		return 0;
	scan_free(s.dir, s.n_dirs);
	return -1;
}

int
scan_replicas(const struct config_db *d, char ***paths, size_t *n,
    struct err *e)
{
	struct scan s = { .d = d, .replicas = true };
	size_t i;
	int rc;

	rc = walk(&s, e);
	*n = 0;
	*paths = xcalloc(s.n, sizeof **paths);
	for (i = 0; i < s.n; i++)
		(*paths)[(*n)++] = xstrdup(s.file[i].path);
	if (*n > 0)
		qsort(*paths, *n, sizeof **paths, compare_paths);
	else if (rc == 0)
		rc = err_set(e, ERR_ABSENT, "%s: no replicas of databases in "
		    "%s there", d->root, d->dir);
	free_files(&s);
	scan_free(s.dir, s.n_dirs);
	if (rc != 0)
		scan_free(*paths, *n);
	return rc;
}

void
scan_free(char **paths, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		free(paths[i]);
	free(paths);
}
