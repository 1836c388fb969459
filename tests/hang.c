/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into a program under test: a disk that does not answer.  While the
 * file HANG exists, calls that name a path which begins as one of its lines
 * do not return; nor do reads, writes and syncs of what is open there.
 */
#define _GNU_SOURCE

#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define NEXT(name) do { \
	if (next == NULL) \
		*(void **)&next = dlsym(RTLD_NEXT, name); \
} while (0)

static int
hangs(const char *path)
{
	char text[PATH_SIZE], *line, *rest = text;
	long fd, n;

	if (getenv("HANG") == NULL || path == NULL || path[0] != '/')
		return 0;
	fd = syscall(SYS_openat, AT_FDCWD, getenv("HANG"),
	    O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = syscall(SYS_read, fd, text, sizeof text - 1);
	syscall(SYS_close, fd);
	text[n > 0 ? n : 0] = '\0';
	while ((line = strtok_r(rest, "\n", &rest)) != NULL)
		if (strncmp(path, line, strlen(line)) == 0)
			return 1;
	return 0;
}

static void
await(const char *path)
{
	const struct timespec tick = { 0, 10000000 };
	int saved = errno;

	while (hangs(path))
		nanosleep(&tick, NULL);
	errno = saved;
}

/* A descriptor, or with a name a directory's. */
static void
await_at(int fd, const char *name)
{
	char link[64], path[PATH_SIZE];
	int saved = errno;
	long n = 0;

	if (name != NULL && (name[0] == '/' || fd == AT_FDCWD)) {
		await(name);
		return;
	}
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	errno = saved;
	await(path);
}

#define CALL(type, name, wait, params, args) \
type \
name params \
{ \
	static type (*next) params; \
\
	NEXT(#name); \
	wait; \
	return next args; \
}
#define BY_PATH(type, name, params, args) \
	CALL(type, name, await(path), params, args)
#define BY_FD(type, name, params, args) \
	CALL(type, name, await_at(fd, NULL), params, args)

BY_PATH(int, stat, (const char *path, struct stat *st), (path, st))
BY_PATH(int, lstat, (const char *path, struct stat *st), (path, st))
BY_PATH(int, stat64, (const char *path, struct stat64 *st), (path, st))
BY_PATH(int, lstat64, (const char *path, struct stat64 *st), (path, st))
BY_PATH(int, statvfs, (const char *path, struct statvfs *fs), (path, fs))
BY_PATH(int, statvfs64, (const char *path, struct statvfs64 *fs), (path, fs))
BY_PATH(int, access, (const char *path, int mode), (path, mode))
BY_PATH(DIR *, opendir, (const char *path), (path))
BY_PATH(ssize_t, readlink, (const char *path, char *p, size_t n),
    (path, p, n))
BY_PATH(int, mkdir, (const char *path, mode_t mode), (path, mode))
BY_PATH(int, unlink, (const char *path), (path))
BY_PATH(int, rename, (const char *path, const char *to), (path, to))
CALL(int, inotify_add_watch, await(path),
    (int fd, const char *path, uint32_t mask), (fd, path, mask))
BY_FD(int, fsync, (int fd), (fd))
BY_FD(int, fdatasync, (int fd), (fd))
BY_FD(ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))
BY_FD(ssize_t, pread64, (int fd, void *p, size_t n, off64_t at),
    (fd, p, n, at))
BY_FD(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at),
    (fd, p, n, at))
BY_FD(ssize_t, pwrite64, (int fd, const void *p, size_t n, off64_t at),
    (fd, p, n, at))

#define OPEN_LIKE(name) \
int \
name(const char *path, int flags, ...) \
{ \
	static int (*next)(const char *, int, ...); \
	va_list ap; \
	mode_t mode; \
\
	va_start(ap, flags); \
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? \
	    va_arg(ap, mode_t) : 0; \
	va_end(ap); \
	NEXT(#name); \
	await(path); \
	return next(path, flags, mode); \
}
OPEN_LIKE(open)
OPEN_LIKE(open64)

#define OPENAT_LIKE(name) \
int \
name(int fd, const char *path, int flags, ...) \
{ \
	static int (*next)(int, const char *, int, ...); \
	va_list ap; \
	mode_t mode; \
\
	va_start(ap, flags); \
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? \
	    va_arg(ap, mode_t) : 0; \
	va_end(ap); \
	NEXT(#name); \
	await_at(fd, path); \
	return next(fd, path, flags, mode); \
}
OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)
