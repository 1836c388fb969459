/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into a program under test: counts the calls that change files
 * below one directory, notes them in a journal, and lets one of them, or all
 * from one on, fail.  The harnesses read and drive it, by environment:
 *
 *	SHIM_ROOT	the directory; nothing outside is looked at
 *	SHIM_SKIP	path prefixes, colon-separated, of what is noted but
 *			not counted; "/": nothing is counted
 *	SHIM_JOURNAL	file to append to: see struct record
 *	SHIM_FAIL	K:ERRNO:MODE[:reads|:others]: the Kth call fails, MODE
 *			"once" or "on"; errno 0: half of it is done; reads:
 *			the Kth of those that read; others: of those that
 *			look (stat, readdir), lock, or make a thread, a
 *			process, a pipe or a connection
 *	SHIM_CLEAR	file: while it exists nothing fails
 *	SHIM_HIT	file to create when something was made to fail
 *	SHIM_ALLOC	K:MODE: the Kth allocation of the program fails
 *	SHIM_COUNT	file to write the numbers of calls, reads,
 *			allocations and others to
 *	SHIM_KILL	K: the program dies after the Kth call; of every
 *			second write only half is done
 *	SHIM_HANG	file: while it exists no fsync returns; with a line in
 *			it, none of a file whose path begins so
 *
 * An fsync that is made to fail loses the data: a NAME.tmp is emptied.  -shm
 * files, which are mapped, are left alone.
 */
#define _GNU_SOURCE

#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FDS 1024
#define PATH_SIZE 4096
#define JOURNAL_FD 900
#define MAGIC 0x4c4e524aU
#define NEXT(var, name) do { \
	if ((var) == NULL) \
		*(void **)&(var) = dlsym(RTLD_NEXT, name); \
} while (0)

enum op { OPEN = 1, CLOSE, WRITE, TRUNC, SYNC, RENAME, LINK, UNLINK, MKDIR,
    TIMES, CHMOD, READ, OTHER, ALL = 0x3fff };
enum kind { CALLS, READS, OTHERS };

/* In the machine's byte order; then path, second path, data. */
struct record {
	uint32_t magic, pid, op;
	uint32_t k;			/* 0: not counted */
	int32_t error, fd, flags;
	uint32_t path_size, path2_size, data_size;
	int64_t off;
};

static const char *root, *skip, *clear, *hit, *count_file, *hang;
static size_t root_size;
static unsigned long count[3], allocs;	/* by kind */
static unsigned long fail_at, alloc_at, kill_at;
static enum kind fail_kind;
static int fail_error, fail_mask, fail_on, alloc_on;
static int journal = -1, ready;
static char *fd_path[FDS], fd_written[FDS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

/* Which calls an errno is plausible for. */
static int
mask_of(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return 1 << OPEN | 1 << CLOSE | 1 << WRITE | 1 << TRUNC |
		    1 << SYNC | 1 << RENAME | 1 << LINK | 1 << MKDIR |
		    1 << TIMES;
	case EMFILE:
		return 1 << OPEN;
	case EINTR:
		return 1 << OPEN | 1 << WRITE | 1 << TRUNC | 1 << SYNC |
		    1 << READ;
	case EACCES:
		return 1 << OPEN | 1 << RENAME | 1 << LINK | 1 << UNLINK |
		    1 << MKDIR | 1 << TIMES | 1 << CHMOD | 1 << OTHER;
	case 0:
		return 1 << WRITE | 1 << READ;
	default:
		return ALL;
	}
}

__attribute__((constructor)) static void
begin(void)
{
	const char *s, *at;
	int fd;

	root = getenv("SHIM_ROOT");
	root_size = root != NULL ? strlen(root) : 0;
	skip = getenv("SHIM_SKIP");
	clear = getenv("SHIM_CLEAR");
	hit = getenv("SHIM_HIT");
	count_file = getenv("SHIM_COUNT");
	hang = getenv("SHIM_HANG");
	if ((s = getenv("SHIM_KILL")) != NULL)
		kill_at = strtoul(s, NULL, 10);
	if ((s = getenv("SHIM_FAIL")) != NULL) {
		fail_at = strtoul(s, NULL, 10);
		at = strchr(s, ':');
		fail_error = at != NULL ? atoi(at + 1) : 0;
		fail_on = strstr(s, ":once") == NULL;
		fail_kind = strstr(s, ":reads") != NULL ? READS :
		    strstr(s, ":others") != NULL ? OTHERS : CALLS;
		fail_mask = mask_of(fail_error);
	}
	if ((s = getenv("SHIM_JOURNAL")) != NULL) {
		fd = (int)syscall(SYS_openat, AT_FDCWD, s, O_WRONLY |
		    O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		journal = fcntl(fd, F_DUPFD_CLOEXEC, JOURNAL_FD);
		syscall(SYS_close, fd);
		if (journal < 0)
			abort();
	}
	if ((s = getenv("SHIM_ALLOC")) != NULL) {
		alloc_at = strtoul(s, NULL, 10);
		alloc_on = strstr(s, ":once") == NULL;
	}
	ready = 1;
}

__attribute__((destructor)) static void
end(void)
{
	char buf[96];
	long fd;
	int n;

	ready = 0;
	if (count_file == NULL)
		return;
	n = snprintf(buf, sizeof buf, "%lu %lu %lu %lu\n", count[CALLS],
	    count[READS], allocs, count[OTHERS]);
	fd = syscall(SYS_openat, AT_FDCWD, count_file,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || syscall(SYS_write, fd, buf, n) != n)
		abort();
	syscall(SYS_close, fd);
}

/* For a program that wants no more faults: coverage.c. */
void
shim_rest(void)
{
	ready = 0;
}

/* Paths */

static int
is_ours(const char *path)
{
	size_t n;

	if (root == NULL || path == NULL || !ready ||
	    strncmp(path, root, root_size) != 0 ||
	    (path[root_size] != '/' && path[root_size] != '\0'))
		return 0;
	n = strlen(path);
	return n < 4 || strcmp(path + n - 4, "-shm") != 0;
}

static int
is_counted(const char *path)
{
	const char *s = skip;
	size_t n;

	while (s != NULL && *s != '\0') {
		n = strcspn(s, ":");
		if (strncmp(path, s, n) == 0)
			return 0;
		s += n + (s[n] == ':');
	}
	return 1;
}

static const char *
path_of(int fd)
{
	return fd >= 0 && fd < FDS ? fd_path[fd] : NULL;
}

static void
set_path(int fd, const char *path)
{
	char *s = NULL;
	size_t n;

	if (fd < 0 || fd >= FDS)
		return;
	if (path != NULL) {
		n = strlen(path) + 1;
		if ((s = __libc_malloc(n)) == NULL)
			abort();
		memcpy(s, path, n);
	}
	__libc_free(fd_path[fd]);
	fd_path[fd] = s;
	fd_written[fd] = 0;
}

/* Journal and faults; all with the mutex held */

struct call {
	enum op op;
	const char *path, *path2;
	int fd, flags;
	int64_t off;
	const void *data;
	unsigned long k;
};

static void
note(const struct call *c, int error, size_t data_size)
{
	struct record r = { .magic = MAGIC };
	struct iovec v[2];
	char buf[8192];
	size_t n1 = c->path != NULL ? strlen(c->path) : 0;
	size_t n2 = c->path2 != NULL ? strlen(c->path2) : 0;

	if (journal < 0)
		return;
	r.pid = (uint32_t)getpid();
	r.op = c->op;
	r.k = (uint32_t)c->k;
	r.error = error;
	r.fd = c->fd;
	r.flags = c->flags;
	r.path_size = (uint32_t)n1;
	r.path2_size = (uint32_t)n2;
	r.data_size = (uint32_t)data_size;
	r.off = c->off;
	if (sizeof r + n1 + n2 > sizeof buf)
		abort();
	memcpy(buf, &r, sizeof r);
	memcpy(buf + sizeof r, c->path, n1);
	if (n2 > 0)
		memcpy(buf + sizeof r + n1, c->path2, n2);
	/* At once: another process may write to it, too. */
	v[0].iov_base = buf;
	v[0].iov_len = sizeof r + n1 + n2;
	v[1].iov_base = (void *)(uintptr_t)c->data;
	v[1].iov_len = data_size;
	if (syscall(SYS_writev, journal, v, data_size > 0 ? 2 : 1) !=
	    (long)(v[0].iov_len + data_size))
		abort();
}

static int
is_there(const char *path)
{
	return syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
}

/* Whether the call now counted is to fail. */
static int
is_time(const struct call *c, enum kind kind)
{
	unsigned long k = ++count[kind];
	long fd;

	if (fail_at == 0 || kind != fail_kind ||
	    (fail_mask & 1 << c->op) == 0 ||
	    (fail_on ? k < fail_at : k != fail_at))
		return 0;
	if (clear != NULL && is_there(clear))
		return 0;
	if (hit != NULL) {
		fd = syscall(SYS_openat, AT_FDCWD, hit,
		    O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		syscall(SYS_close, fd);
	}
	return 1;
}

/* 1 and errno if the call is to fail, 2 if it is to be short. */
static int
strikes(struct call *c)
{
	int saved = errno, fails = 0;

	if (is_counted(c->path)) {
		fails = is_time(c, CALLS);
		c->k = count[CALLS];
	}
	errno = saved;
	if (kill_at != 0 && c->k == kill_at && c->k % 2 == 0)
		return 2;
	if (!fails)
		return 0;
	if (fail_error == 0)
		return 2;
	errno = fail_error;
	return 1;
}

static int
enter(struct call *c)
{
	pthread_mutex_lock(&mutex);
	return strikes(c);
}

static void
leave(struct call *c, int failed, size_t data_size)
{
	int saved = errno;

	note(c, failed ? saved : 0, data_size);
	if (kill_at != 0 && c->k == kill_at)
		kill(getpid(), SIGKILL);
	pthread_mutex_unlock(&mutex);
	errno = saved;
}

/* The same for what changes no file. */
static int
meets(enum kind kind, const char *path)
{
	struct call c = { .op = kind == READS ? READ : OTHER, .path = path };
	int saved = errno, fails = 0;

	pthread_mutex_lock(&mutex);
	if (path == NULL || is_counted(path))
		fails = is_time(&c, kind);
	pthread_mutex_unlock(&mutex);
	errno = fails ? fail_error : saved;
	return !fails ? 0 : fail_error == 0 ? 2 : 1;
}

static int
may_read(const char *path)
{
	return meets(READS, path);
}

/* Whether a call that looks at path, or locks it, is to fail. */
static int
blind(const char *path)
{
	return is_ours(path) && meets(OTHERS, path) == 1;
}

/* Opening and closing */

static int
do_open(int dir, const char *name, const char *path, int flags, mode_t mode)
{
	struct call c = { .op = OPEN, .path = path, .fd = -1, .flags = flags };
	int fd = -1, fails;

	if ((flags & O_CREAT) == 0) {
		if (is_counted(path) && fail_kind == READS &&
		    (fail_error == EMFILE ||
		    fail_error == EACCES || fail_error == EIO) &&
		    may_read(path) == 1)
			return -1;
		pthread_mutex_lock(&mutex);
		fails = 0;
	} else
		fails = enter(&c);
	if (fails != 1)
		fd = (int)syscall(SYS_openat, dir, name, flags | O_LARGEFILE,
		    mode);
	c.fd = fd;
	if (fd >= 0)
		set_path(fd, path);
	leave(&c, fd < 0, 0);
	return fd;
}

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
	NEXT(next, #name); \
	return is_ours(path) ? do_open(AT_FDCWD, path, path, flags, mode) : \
	    next(path, flags, mode); \
}
OPEN_LIKE(open)
OPEN_LIKE(open64)

/* The path of a name in a directory whose descriptor is known. */
static const char *
full(int dir, const char *name, char *buf)
{
	const char *at = name[0] != '/' ? path_of(dir) : NULL;

	if (at == NULL)
		return name;
	if (snprintf(buf, PATH_SIZE, "%s/%s", at, name) >= PATH_SIZE)
		abort();
	return buf;
}

#define OPENAT_LIKE(name) \
int \
name(int dir, const char *entry, int flags, ...) \
{ \
	static int (*next)(int, const char *, int, ...); \
	const char *path; \
	char buf[PATH_SIZE]; \
	va_list ap; \
	mode_t mode; \
\
	va_start(ap, flags); \
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? \
	    va_arg(ap, mode_t) : 0; \
	va_end(ap); \
	NEXT(next, #name); \
	path = full(dir, entry, buf); \
	return is_ours(path) ? do_open(dir, entry, path, flags, mode) : \
	    next(dir, entry, flags, mode); \
}
OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)

/* Locks, and forgets whose it is before another thread may get the same number;
 * 1 if the call is to fail: of what was written. */
static int
forget(struct call *c)
{
	pthread_mutex_lock(&mutex);
	c->path = fd_path[c->fd];
	fd_path[c->fd] = NULL;
	return fd_written[c->fd] && strikes(c) == 1;
}

#define CLOSE_LIKE(name, param, get) \
int \
name(param) \
{ \
	static int (*next)(param); \
	struct call c = { .op = CLOSE, .fd = get }; \
	int rc, fails; \
\
	NEXT(next, #name); \
	if (c.fd == journal && c.fd >= 0) \
		return 0; \
	if (path_of(c.fd) == NULL) \
		return next(handle); \
	fails = forget(&c); \
	rc = next(handle); \
	if (fails) { \
		errno = fail_error; \
		rc = -1; \
	} \
	leave(&c, rc != 0, 0); \
	__libc_free((char *)(uintptr_t)c.path); \
	return rc; \
}
CLOSE_LIKE(close, int handle, handle)
CLOSE_LIKE(closedir, DIR *handle, dirfd(handle))

DIR *
opendir(const char *path)
{
	static DIR *(*next)(const char *);
	DIR *d;

	NEXT(next, "opendir");
	if (is_ours(path) && fail_kind == READS && fail_error != 0 &&
	    may_read(path) == 1)
		return NULL;
	if ((d = next(path)) != NULL && is_ours(path)) {
		pthread_mutex_lock(&mutex);
		set_path(dirfd(d), path);
		pthread_mutex_unlock(&mutex);
	}
	return d;
}

/* Content */

static ssize_t
do_write(int fd, const void *p, size_t n, int64_t off)
{
	struct call c = { .op = WRITE, .path = path_of(fd), .fd = fd,
	    .off = off, .data = p };
	ssize_t k = -1;
	int fails = enter(&c);

	if (off < 0)
		c.off = lseek(fd, 0, SEEK_CUR);
	if (fails == 2 && n > 1)
		n = n / 2;
	fd_written[fd] = 1;
	if (fails != 1)
		k = off < 0 ? syscall(SYS_write, fd, p, n) :
		    syscall(SYS_pwrite64, fd, p, n, off);
	leave(&c, k < 0, k > 0 ? (size_t)k : 0);
	return k;
}

ssize_t
write(int fd, const void *p, size_t n)
{
	static ssize_t (*next)(int, const void *, size_t);

	NEXT(next, "write");
	return path_of(fd) == NULL ? next(fd, p, n) : do_write(fd, p, n, -1);
}

#define PWRITE_LIKE(name, off_type) \
ssize_t \
name(int fd, const void *p, size_t n, off_type off) \
{ \
	static ssize_t (*next)(int, const void *, size_t, off_type); \
\
	NEXT(next, #name); \
	return path_of(fd) == NULL ? next(fd, p, n, off) : \
	    do_write(fd, p, n, off); \
}
PWRITE_LIKE(pwrite, off_t)
PWRITE_LIKE(pwrite64, off64_t)

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	static ssize_t (*next)(int, const struct iovec *, int);

	NEXT(next, "writev");
	if (path_of(fd) != NULL)
		abort();	/* nobody does it: not taught */
	return next(fd, v, n);
}

static int
is_tmp(const char *path)
{
	size_t n = strlen(path);

	return n > 4 && strcmp(path + n - 4, ".tmp") == 0;
}

static size_t
short_read(size_t n)
{
	return n > 1 ? n / 2 : n;
}

ssize_t
read(int fd, void *p, size_t n)
{
	static ssize_t (*next)(int, void *, size_t);
	int fails = path_of(fd) != NULL ? may_read(path_of(fd)) : 0;

	NEXT(next, "read");
	return fails == 1 ? -1 : next(fd, p, fails == 2 ? short_read(n) : n);
}

#define PREAD_LIKE(name, off_type) \
ssize_t \
name(int fd, void *p, size_t n, off_type off) \
{ \
	static ssize_t (*next)(int, void *, size_t, off_type); \
	int fails = path_of(fd) != NULL ? may_read(path_of(fd)) : 0; \
\
	NEXT(next, #name); \
	return fails == 1 ? -1 : \
	    next(fd, p, fails == 2 ? short_read(n) : n, off); \
}
PREAD_LIKE(pread, off_t)
PREAD_LIKE(pread64, off64_t)

static int
do_truncate(int fd, int64_t size)
{
	struct call c = { .op = TRUNC, .path = path_of(fd), .fd = fd,
	    .off = size };
	int rc = -1, fails = enter(&c);

	if (fails != 1)
		rc = (int)syscall(SYS_ftruncate, fd, size);
	leave(&c, rc != 0, 0);
	return rc;
}

#define TRUNCATE_LIKE(name, off_type) \
int \
name(int fd, off_type size) \
{ \
	static int (*next)(int, off_type); \
\
	NEXT(next, #name); \
	return path_of(fd) == NULL ? next(fd, size) : do_truncate(fd, size); \
}
TRUNCATE_LIKE(ftruncate, off_t)
TRUNCATE_LIKE(ftruncate64, off64_t)

static int
hangs(const char *path)
{
	char line[PATH_SIZE] = "";
	ssize_t n;
	int fd;

	if (hang == NULL)
		return 0;
	fd = (int)syscall(SYS_openat, AT_FDCWD, hang, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = syscall(SYS_read, fd, line, sizeof line - 1);
	syscall(SYS_close, fd);
	line[n > 0 ? n : 0] = '\0';
	return strncmp(path, line, strcspn(line, "\n")) == 0;
}

static int
do_sync(int (*next)(int), int fd)
{
	const struct timespec tick = { 0, 10000000 };
	struct call c = { .op = SYNC, .path = path_of(fd), .fd = fd };
	int rc = -1, fails, saved;

	if (c.path == NULL)
		return next(fd);
	while (hangs(c.path))
		nanosleep(&tick, NULL);
	fails = enter(&c);
	if (fails != 1)
		rc = next(fd);
	else if (is_tmp(c.path)) {
		saved = errno;
		syscall(SYS_ftruncate, fd, 0L);
		errno = saved;
	}
	leave(&c, rc != 0, 0);
	return rc;
}

int
fsync(int fd)
{
	static int (*next)(int);

	NEXT(next, "fsync");
	return do_sync(next, fd);
}

int
fdatasync(int fd)
{
	static int (*next)(int);

	NEXT(next, "fdatasync");
	return do_sync(next, fd);
}

/* What has no content: its parameters, arguments, whether it is ours, which. */
#define CHANGE(name, params, args, ours, ...) \
int \
name params \
{ \
	static int (*next) params; \
	struct call c = { __VA_ARGS__ }; \
	int rc = -1; \
\
	NEXT(next, #name); \
	if (!(ours)) \
		return next args; \
	if (enter(&c) != 1) \
		rc = next args; \
	leave(&c, rc != 0, 0); \
	return rc; \
}
CHANGE(futimens, (int fd, const struct timespec ts[2]), (fd, ts),
    path_of(fd) != NULL, .op = TIMES, .path = path_of(fd), .fd = fd)
CHANGE(fchmod, (int fd, mode_t mode), (fd, mode),
    path_of(fd) != NULL, .op = CHMOD, .path = path_of(fd), .fd = fd)
CHANGE(chmod, (const char *path, mode_t mode), (path, mode),
    is_ours(path), .op = CHMOD, .path = path, .fd = -1)
CHANGE(rename, (const char *from, const char *to), (from, to),
    is_ours(from) || is_ours(to),
    .op = RENAME, .path = from, .path2 = to, .fd = -1)
CHANGE(link, (const char *from, const char *to), (from, to),
    is_ours(from) || is_ours(to),
    .op = LINK, .path = from, .path2 = to, .fd = -1)
CHANGE(unlink, (const char *path), (path),
    is_ours(path), .op = UNLINK, .path = path, .fd = -1)
CHANGE(mkdir, (const char *path, mode_t mode), (path, mode),
    is_ours(path), .op = MKDIR, .path = path, .fd = -1)

/* The same of an entry of an open directory, and of two. */
#define CHANGE_AT(name, params, args, dir, entry, ...) \
int \
name params \
{ \
	static int (*next) params; \
	char buf[PATH_SIZE]; \
	struct call c = { .path = full(dir, entry, buf), .fd = -1, \
	    __VA_ARGS__ }; \
	int rc = -1; \
\
	NEXT(next, #name); \
	if (!is_ours(c.path) && !is_ours(c.path2)) \
		return next args; \
	if (enter(&c) != 1) \
		rc = next args; \
	leave(&c, rc != 0, 0); \
	return rc; \
}
CHANGE_AT(mkdirat, (int at, const char *path, mode_t mode), (at, path, mode),
    at, path, .op = MKDIR)
CHANGE_AT(unlinkat, (int at, const char *path, int flags), (at, path, flags),
    at, path, .op = UNLINK)
CHANGE_AT(linkat, (int a, const char *from, int b, const char *to, int flags),
    (a, from, b, to, flags), a, from,
    .op = LINK, .path2 = full(b, to, (char[PATH_SIZE]){ 0 }))
CHANGE_AT(renameat, (int a, const char *from, int b, const char *to),
    (a, from, b, to), a, from,
    .op = RENAME, .path2 = full(b, to, (char[PATH_SIZE]){ 0 }))

/* Looks and locks */

#define LOOK(type, name, params, args, path, failed) \
type \
name params \
{ \
	static type (*next) params; \
\
	NEXT(next, #name); \
	return blind(path) ? failed : next args; \
}
LOOK(int, stat, (const char *path, struct stat *st), (path, st), path, -1)
LOOK(int, stat64, (const char *path, struct stat64 *st), (path, st), path, -1)
LOOK(int, lstat, (const char *path, struct stat *st), (path, st), path, -1)
LOOK(int, lstat64, (const char *path, struct stat64 *st), (path, st), path, -1)
LOOK(int, fstat, (int fd, struct stat *st), (fd, st), path_of(fd), -1)
LOOK(int, fstat64, (int fd, struct stat64 *st), (fd, st), path_of(fd), -1)
LOOK(struct dirent *, readdir, (DIR *d), (d), path_of(dirfd(d)), NULL)
LOOK(struct dirent64 *, readdir64, (DIR *d), (d), path_of(dirfd(d)), NULL)
LOOK(int, flock, (int fd, int how), (fd, how), path_of(fd), -1)

#define FSTATAT_LIKE(name, type) \
int \
name(int dir, const char *path, type *st, int flags) \
{ \
	static int (*next)(int, const char *, type *, int); \
	char buf[PATH_SIZE]; \
\
	NEXT(next, #name); \
	return blind(full(dir, path, buf)) ? -1 : next(dir, path, st, flags); \
}
FSTATAT_LIKE(fstatat, struct stat)
FSTATAT_LIKE(fstatat64, struct stat64)

#define FCNTL_LIKE(name) \
int \
name(int fd, int what, ...) \
{ \
	static int (*next)(int, int, ...); \
	va_list ap; \
	void *arg; \
\
	va_start(ap, what); \
	arg = va_arg(ap, void *); \
	va_end(ap); \
	NEXT(next, #name); \
	if ((what == F_SETLK || what == F_SETLKW || what == F_GETLK) && \
	    blind(path_of(fd))) \
		return -1; \
	return next(fd, what, arg); \
}
FCNTL_LIKE(fcntl)
FCNTL_LIKE(fcntl64)

/* Threads, processes, pipes, sockets: these have no path */

static int
none_left(void)
{
	return root != NULL && ready && meets(OTHERS, NULL) == 1;
}

int
pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *),
    void *arg)
{
	static int (*next)(pthread_t *, const pthread_attr_t *,
	    void *(*)(void *), void *);

	NEXT(next, "pthread_create");
	return none_left() ? EAGAIN : next(t, a, f, arg);
}

#define MAKE(type, name, params, args) \
type \
name params \
{ \
	static type (*next) params; \
\
	NEXT(next, #name); \
	return none_left() ? -1 : next args; \
}
MAKE(pid_t, fork, (void), ())
MAKE(int, pipe, (int fds[2]), (fds))
MAKE(int, socket, (int a, int b, int c), (a, b, c))
MAKE(int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
MAKE(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
MAKE(int, listen, (int fd, int n), (fd, n))
MAKE(int, accept, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
MAKE(ssize_t, send, (int fd, const void *p, size_t n, int how),
    (fd, p, n, how))

/* Memory */

static int
no_memory(void)
{
	unsigned long k;

	if (!ready)
		return 0;
	k = __atomic_add_fetch(&allocs, 1, __ATOMIC_RELAXED);
	if (alloc_at == 0 || (alloc_on ? k < alloc_at : k != alloc_at))
		return 0;
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t n)
{
	return no_memory() ? NULL : __libc_malloc(n);
}

void *
calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t n)
{
	return no_memory() ? NULL : __libc_realloc(p, n);
}
