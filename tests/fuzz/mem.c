/* SPDX-License-Identifier: ISC */
/* Files in memory, as far as the modules under test need them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define FDS 64
#define FIRST_FD 1000		/* none that the process has */
#define SIZE_LIMIT ((off_t)64 << 20)
#define PAD 4096

struct file {
	char path[MEM_PATH];	/* "" without a name */
	uint8_t *data;
	size_t n, cap;
	int opens;
};

static struct file files[MEM_FILES];
static struct fd {
	bool open;
	struct file *f;
	char dir[MEM_PATH];	/* where f is NULL */
	size_t pos;		/* in that, the next of files */
	struct dirent entry;
} fds[FDS];
static size_t limit = SIZE_MAX;

void
fuzz_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	abort();
}

void
fuzz_clear(struct err *e)
{
	e->kind = ERR_NONE;
	e->text[0] = e->hint[0] = '\0';
}

void
fuzz_error(const struct err *e, enum err_kind kind, const char *path)
{
	MUST(e->kind != ERR_NONE);
	MUST(kind == ERR_NONE || e->kind == kind);
	MUST(e->text[0] != '\0' && memchr(e->text, '\0', sizeof e->text));
	MUST(strchr(e->text, '\n') == NULL);
	MUST(strchr(e->text, '\033') == NULL);
	MUST(path == NULL || strstr(e->text, path) != NULL);
}

static struct file *
find(const char *path)
{
	size_t i;

	for (i = 0; i < MEM_FILES; i++)
		if (strcmp(files[i].path, path) == 0 && *path != '\0')
			return &files[i];
	errno = ENOENT;
	return NULL;
}

static bool
is_dir(const char *path)
{
	const char *s = strrchr(path, '/');

	return s == NULL || strchr(s, '.') == NULL;
}

static struct file *
make(const char *path)
{
	struct file *f;

	if (strlen(path) >= MEM_PATH) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	for (f = files; f->path[0] != '\0' || f->opens > 0; f++)
		MUST(f < files + MEM_FILES - 1);
	strcpy(f->path, path);
	f->n = 0;
	return f;
}

static int
resize(struct file *f, off_t n)
{
	if (n > SIZE_LIMIT) {
		errno = EFBIG;
		return -1;
	}
	if ((size_t)n > f->cap) {
		f->cap = (size_t)n + PAD;
		f->data = realloc(f->data, f->cap);
		MUST(f->data != NULL);
	}
	if ((size_t)n > f->n)
		memset(f->data + f->n, 0, (size_t)n - f->n);
	f->n = (size_t)n;
	return 0;
}

void
mem_reset(void)
{
	size_t i;

	for (i = 0; i < FDS; i++)
		MUST(!fds[i].open);
	for (i = 0; i < MEM_FILES; i++)
		files[i].path[0] = '\0';
}

void
mem_put(const char *path, const void *p, size_t n)
{
	struct file *f = find(path);

	if (f == NULL)
		f = make(path);
	MUST(f != NULL);
	resize(f, (off_t)n);
	if (n > 0)
		memcpy(f->data, p, n);
}

const uint8_t *
mem_get(const char *path, size_t *n)
{
	const struct file *f = find(path);

	if (f == NULL)
		return NULL;
	*n = f->n;
	return f->data;
}

static struct fd *
of(int n)
{
	if (n < FIRST_FD || n >= FIRST_FD + FDS || !fds[n - FIRST_FD].open) {
		errno = EBADF;
		return NULL;
	}
	return &fds[n - FIRST_FD];
}

/* The path of a name in the directory at, in buf. */
static const char *
path_at(int at, const char *name, char buf[MEM_PATH])
{
	const struct fd *d = of(at);

	if (at == AT_FDCWD || name[0] == '/')
		return name;
	MUST(d != NULL && d->f == NULL);
	if (snprintf(buf, MEM_PATH, "%s/%s", d->dir, name) >= MEM_PATH)
		return name;		/* there is none */
	return buf;
}

int
mem_openat(int at, const char *name, int flags, ...)
{
	char buf[MEM_PATH];
	const char *path = path_at(at, name, buf);
	struct file *f = find(path);
	int i, code = 0;

	if (f == NULL && (flags & O_CREAT) != 0) {
		if ((f = make(path)) == NULL)
			return -1;
	} else if (f != NULL && (flags & O_EXCL) != 0)
		code = EEXIST;
	else if (f != NULL && (flags & O_DIRECTORY) != 0)
		code = ENOTDIR;
	else if (f == NULL && !is_dir(path))
		code = ENOENT;
	else if (f == NULL && strlen(path) >= MEM_PATH)
		code = ENAMETOOLONG;
	errno = code;
	if (code != 0)
		return -1;
	for (i = 0; fds[i].open; i++)
		MUST(i < FDS - 1);
	fds[i].open = true;
	fds[i].f = f;
	fds[i].pos = 0;
	if (f != NULL)
		f->opens++;
	else
		strcpy(fds[i].dir, path);
	return FIRST_FD + i;
}

int
mem_close(int n)
{
	struct fd *d = of(n);

	MUST(d != NULL);	/* a second close would be another's */
	d->open = false;
	if (d->f != NULL)
		d->f->opens--;
	return 0;
}

ssize_t
mem_pread(int n, void *p, size_t want, off_t off)
{
	struct fd *d = of(n);
	size_t left;

	if (d == NULL || d->f == NULL || off < 0) {
		errno = d == NULL ? EBADF : d->f == NULL ? EISDIR : EINVAL;
		return -1;
	}
	left = (uintmax_t)off < d->f->n ? d->f->n - (size_t)off : 0;
	if (want > left)
		want = left;
	if (want > 0)
		memcpy(p, d->f->data + off, want);
	return (ssize_t)want;
}

ssize_t
mem_read(int n, void *p, size_t want)
{
	struct fd *d = of(n);
	ssize_t k = mem_pread(n, p, want, d != NULL ? (off_t)d->pos : 0);

	if (k > 0)
		d->pos += (size_t)k;
	return k;
}

ssize_t
mem_pwrite(int n, const void *p, size_t size, off_t off)
{
	struct fd *d = of(n);

	if (d == NULL || d->f == NULL || off < 0 || off > SIZE_LIMIT) {
		errno = d == NULL ? EBADF : EINVAL;
		return -1;
	}
	if ((size_t)off + size > d->f->n &&
	    resize(d->f, off + (off_t)size) != 0)
		return -1;
	if (size > 0)
		memcpy(d->f->data + off, p, size);
	return (ssize_t)size;
}

ssize_t
mem_write(int n, const void *p, size_t size)
{
	struct fd *d = of(n);
	ssize_t k = mem_pwrite(n, p, size, d != NULL ? (off_t)d->pos : 0);

	if (k > 0)
		d->pos += (size_t)k;
	return k;
}

static void
describe(const struct file *f, struct stat *st)
{
	memset(st, 0, sizeof *st);
	st->st_dev = 1;
	st->st_mode = f != NULL ? S_IFREG | 0600 : S_IFDIR | 0700;
	st->st_ino = f != NULL ? (ino_t)(f - files) + 2 : 1;
	st->st_size = f != NULL ? (off_t)f->n : 0;
	st->st_nlink = 1;
	st->st_mtime = 1000;
}

int
mem_stat(const char *path, struct stat *st)
{
	const struct file *f = find(path);

	if (f == NULL && !is_dir(path))
		return -1;
	describe(f, st);
	return 0;
}

int
mem_fstat(int n, struct stat *st)
{
	const struct fd *d = of(n);

	if (d == NULL)
		return -1;
	describe(d->f, st);
	return 0;
}

int
mem_fstatat(int at, const char *name, struct stat *st)
{
	char buf[MEM_PATH];

	return mem_stat(path_at(at, name, buf), st);
}

int
mem_truncate(int n, off_t size)
{
	struct fd *d = of(n);

	return d == NULL || d->f == NULL ? -1 : resize(d->f, size);
}

int
mem_fd(int n)
{
	return of(n) != NULL ? 0 : -1;
}

int
mem_unlinkat(int at, const char *name, int flags)
{
	char buf[MEM_PATH];
	struct file *f = find(path_at(at, name, buf));

	MUST(flags == 0);
	if (f == NULL)
		return -1;
	f->path[0] = '\0';
	return 0;
}

int
mem_renameat(int at, const char *from, int to_at, const char *to)
{
	char a[MEM_PATH], b[MEM_PATH];
	const char *path = path_at(to_at, to, b);
	struct file *f = find(path_at(at, from, a)), *old = find(path);

	if (f == NULL)
		return -1;
	MUST(strlen(path) < MEM_PATH);
	if (old != NULL)
		old->path[0] = '\0';
	strcpy(f->path, path);
	return 0;
}

int
mem_linkat(int at, const char *from, int to_at, const char *to)
{
	char a[MEM_PATH], b[MEM_PATH];
	const struct file *f = find(path_at(at, from, a));
	const char *path = path_at(to_at, to, b);

	if (f == NULL)
		return -1;
	if (find(path) != NULL) {
		errno = EEXIST;
		return -1;
	}
	mem_put(path, f->data, f->n);
	return 0;
}

int
mem_mkdirat(int at, const char *name)
{
	char buf[MEM_PATH];

	if (!is_dir(path_at(at, name, buf)))
		return 0;
	errno = EEXIST;
	return -1;
}

DIR *
mem_fdopendir(int n)
{
	return (DIR *)of(n);
}

DIR *
mem_opendir(const char *path)
{
	int n = mem_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);

	return n >= 0 ? mem_fdopendir(n) : NULL;
}

struct dirent *
mem_readdir(DIR *dir)
{
	struct fd *d = (struct fd *)dir;
	size_t k = strlen(d->dir);
	const char *s;

	while (d->pos < MEM_FILES) {
		s = files[d->pos++].path;
		if (strncmp(s, d->dir, k) == 0 && s[k] == '/' &&
		    strchr(s + k + 1, '/') == NULL) {
			strcpy(d->entry.d_name, s + k + 1);
			return &d->entry;
		}
	}
	return NULL;
}

int
mem_closedir(DIR *d)
{
	return mem_close(FIRST_FD + (int)((struct fd *)d - fds));
}

void
mem_limit(size_t n)
{
	limit = n;
}

void *
mem_malloc(size_t n)
{
	MUST(n <= limit);
	return malloc(n);
}

void *
mem_calloc(size_t n, size_t size)
{
	MUST(size == 0 || n <= limit / size);
	return calloc(n, size);
}

void *
mem_realloc(void *p, size_t n)
{
	MUST(n <= limit);
	return realloc(p, n);
}
