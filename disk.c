/* SPDX-License-Identifier: ISC */
/*
 * Every call that changes the file system.
 *
 * A name becomes durable in two steps: fsync of the file before its name is
 * given to it by rename, fsync of the directory after.  A crash before the
 * rename leaves at most NAME.tmp, which the next writer of that name removes; a
 * crash after it leaves the whole file, whose name may be lost until the
 * directory is synced.  A failed fsync is never repeated on the same file:
 * the kernel may have dropped what it could not write.
 */
#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"

#define PID_TEXT_MAX 32
#define LOCK_TRIES 10		/* whoever only asks has it for an instant */
#define LOCK_STEP_MS 20

int
disk_owner_of(const char *path, struct disk_owner *o, struct err *e)
{
	struct stat st;
	char *dir;
	int rc = -1;

	if (stat(path, &st) != 0)
		return err_sys(e, path, "stat");
	o->file_mode = st.st_mode & 0666;
	o->uid = st.st_uid;
	o->gid = st.st_gid;
	dir = path_dir(path);
	if (stat(dir, &st) != 0) {
		err_sys(e, dir, "stat");
		goto out;
	}
	o->dir_mode = 0700 | (st.st_mode &
	    ((o->file_mode & 0040 ? 0050 : 0) | (o->file_mode & 0020) |
	    (o->file_mode & 0004 ? 0005 : 0)));
	rc = 0;
out:
	free(dir);
	return rc;
}

void
disk_owner_private(struct disk_owner *o)
{
	o->file_mode = 0600;
	o->dir_mode = 0700;
	o->uid = geteuid();
	o->gid = getegid();
}

int
disk_stat(const char *path, struct disk_stat *s, struct err *e)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return err_sys(e, path, "stat");
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->size = (uint64_t)st.st_size;
	s->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 +
	    st.st_mtim.tv_nsec;
	s->ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 +
	    st.st_ctim.tv_nsec;
	return 0;
}

bool
disk_stat_equal(const struct disk_stat *a, const struct disk_stat *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	    a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

int
disk_exists_in(int dir, const char *name, const char *path, struct err *e)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR ? 0 :
	    err_sys(e, path, "stat");
}

int
disk_exists(const char *path, struct err *e)
{
	return disk_exists_in(AT_FDCWD, path, path, e);
}

/*
 * Gives fd the owner, then the mode: never wider than asked, whatever the
 * umask, and whatever group the directory passes on.  Where the group cannot
 * be given, its bits go; where the owner cannot, we stay the owner.
 */
static int
give(int fd, const struct disk_owner *o, mode_t mode, const char *path,
    struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, path, "stat");
	if ((st.st_uid != o->uid || st.st_gid != o->gid) &&
	    fchown(fd, o->uid, o->gid) != 0 &&
	    fchown(fd, (uid_t)-1, o->gid) != 0)
		mode &= ~(mode_t)0070;
	if (fchmod(fd, mode) != 0)
		return err_sys(e, path, "chmod");
	return 0;
}

int
disk_create_in(int dir, const char *name, const struct disk_owner *o,
    const char *path, struct err *e)
{
	int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd;

	fd = openat(dir, name, flags, 0600);
	if (fd < 0 && errno == EEXIST) {
		if (disk_unlink_in(dir, name, path, e) != 0)
			return -1;
		fd = openat(dir, name, flags, 0600);
	}
	if (fd < 0)
		return err_sys(e, path, "create");
	if (give(fd, o, o->file_mode, path, e) != 0) {
		close(fd);
		unlinkat(dir, name, 0);
		return -1;
	}
	return fd;
}

int
disk_create(const char *path, const struct disk_owner *o, struct err *e)
{
	return disk_create_in(AT_FDCWD, path, o, path, e);
}

int
disk_write(int fd, const void *p, size_t n, const char *path, struct err *e)
{
	const char *at = p;
	ssize_t k;

	while (n > 0) {
		k = write(fd, at, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_sys(e, path, "write");
		at += k;
		n -= (size_t)k;
	}
	return 0;
}

int
disk_pwrite(int fd, const void *p, size_t n, int64_t off, const char *path,
    struct err *e)
{
	const char *at = p;
	ssize_t k;

	while (n > 0) {
		k = pwrite(fd, at, n, (off_t)off);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_sys(e, path, "write");
		at += k;
		off += k;
		n -= (size_t)k;
	}
	return 0;
}

void
disk_start_writing(int fd, int64_t off, int64_t n)
{
	/* What is not needed any more is written first; here it stays in the
	 * cache, as it cannot be dropped before. */
	(void)posix_fadvise(fd, (off_t)off, (off_t)n, POSIX_FADV_DONTNEED);
}

ssize_t
disk_pread(int fd, void *p, size_t n, uint64_t off, const char *path,
    struct err *e)
{
	size_t got = 0;
	ssize_t k;

	while (got < n) {
		k = pread(fd, (char *)p + got, n - got, (off_t)(off + got));
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_sys(e, path, "read");
		if (k == 0)
			break;
		got += (size_t)k;
	}
	return (ssize_t)got;
}

int
disk_truncate(int fd, int64_t size, const char *path, struct err *e)
{
	if (ftruncate(fd, (off_t)size) != 0)
		return err_sys(e, path, "truncate");
	return 0;
}

int
disk_sync(int fd, const char *path, struct err *e)
{
	if (fsync(fd) != 0)
		return err_sys(e, path, "fsync");
	return 0;
}

int
disk_touch(int fd, const char *path, struct err *e)
{
	if (futimens(fd, NULL) != 0)
		return err_sys(e, path, "touch");
	return 0;
}

int
disk_set_time(int fd, int64_t ms, const char *path, struct err *e)
{
	struct timespec ts[2];

	ts[0].tv_sec = (time_t)(ms / 1000);
	ts[0].tv_nsec = (long)(ms % 1000) * 1000000;
	ts[1] = ts[0];
	if (futimens(fd, ts) != 0)
		return err_sys(e, path, "set time");
	return 0;
}

int
disk_close(int *fd, const char *path, struct err *e)
{
	int f = *fd;

	*fd = -1;
	if (f >= 0 && close(f) != 0 && errno != EINTR)
		return err_sys(e, path, "close");
	return 0;
}

int
disk_rename_in(int dir, const char *from, const char *to, const char *path,
    struct err *e)
{
	if (renameat(dir, from, dir, to) != 0)
		return err_sys(e, path, "rename");
	return 0;
}

int
disk_rename(const char *from, const char *to, struct err *e)
{
	return disk_rename_in(AT_FDCWD, from, to, to, e);
}

int
disk_link_in(int from_dir, const char *from, int dir, const char *to,
    const char *path, struct err *e)
{
	if (linkat(from_dir, from, dir, to, 0) != 0)
		return err_sys(e, path, "link");
	return 0;
}

int
disk_link(const char *from, const char *to, struct err *e)
{
	return disk_link_in(AT_FDCWD, from, AT_FDCWD, to, to, e);
}

int
disk_unlink_in(int dir, const char *name, const char *path, struct err *e)
{
	if (unlinkat(dir, name, 0) != 0 && errno != ENOENT)
		return err_sys(e, path, "remove");
	return 0;
}

int
disk_unlink(const char *path, struct err *e)
{
	return disk_unlink_in(AT_FDCWD, path, path, e);
}

int
disk_make_dir(int at, const char *name, const struct disk_owner *o,
    const char *path, struct err *e)
{
	bool made = mkdirat(at, name, 0700) == 0;
	int fd;

	if (!made && errno != EEXIST)
		return err_sys(e, path, "mkdir");
	fd = disk_open_dir(at, name, false, path, e);
	if (fd >= 0 && made && (give(fd, o, o->dir_mode, path, e) != 0 ||
	    disk_sync_in(at, path, e) != 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int
make_dir(const char *path, const struct disk_owner *o, struct err *e)
{
	char *parent = path_dir(path);
	int at = disk_open_dir(AT_FDCWD, parent, true, parent, e), fd = -1;

	if (at >= 0) {
		fd = disk_make_dir(at, path_base(path), o, path, e);
		close(at);
	}
	if (fd >= 0)
		close(fd);
	free(parent);
	return fd < 0 ? -1 : 0;
}

int
disk_mkdirs(const char *path, const struct disk_owner *o, struct err *e)
{
	struct stat st;
	char *s, *at;
	int rc = 0;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	s = xstrdup(path);
	for (at = s + 1; rc == 0 && (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		if (stat(s, &st) != 0)
			rc = make_dir(s, o, e);
		*at = '/';
	}
	if (rc == 0 && stat(s, &st) != 0)
		rc = make_dir(s, o, e);
	else if (rc == 0 && !S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		rc = err_sys(e, path, "mkdir");
	}
	free(s);
	return rc;
}

int
disk_open_dir(int at, const char *name, bool link, const char *path,
    struct err *e)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
	    (link ? 0 : O_NOFOLLOW));

	return fd >= 0 ? fd : err_sys(e, path, "open");
}

int
disk_sync_in(int fd, const char *path, struct err *e)
{
	return fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP ?
	    err_sys(e, path, "fsync") : 0;
}

int
disk_sync_dir(const char *path, struct err *e)
{
	int fd = disk_open_dir(AT_FDCWD, path, true, path, e), rc;

	if (fd < 0)
		return -1;
	rc = disk_sync_in(fd, path, e);
	close(fd);
	return rc;
}

int
disk_replace(const char *path, bool link, const void *p, size_t n,
    const struct disk_owner *o, struct err *e)
{
	char *tmp = xasprintf("%s.tmp", path), *dir = path_dir(path);
	const char *from = path_base(tmp);
	int fd = -1, at, rc = -1;

	if ((at = disk_open_dir(AT_FDCWD, dir, link, dir, e)) < 0 ||
	    (fd = disk_create_in(at, from, o, tmp, e)) < 0)
		goto out;
	if (disk_write(fd, p, n, tmp, e) != 0 || disk_sync(fd, tmp, e) != 0 ||
	    disk_close(&fd, tmp, e) != 0)
		unlinkat(at, from, 0);
	else if (disk_rename_in(at, from, path_base(path), path, e) != 0)
		unlinkat(at, from, 0);
	else
		rc = disk_sync_in(at, dir, e);
out:
	if (fd >= 0)
		close(fd);
	if (at >= 0)
		close(at);
	free(dir);
	free(tmp);
	return rc;
}

bool
disk_not_a_file(int code)
{
	return code == ELOOP || code == ENXIO;
}

int
disk_check_file(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, path, "stat");
	return S_ISREG(st.st_mode) ? 0 : err_set(e, ERR_DAMAGED,
	    "%s: not a regular file", path);
}

int
disk_read_all(const char *path, size_t max, char **p, size_t *n,
    struct err *e)
{
	struct stat st;
	char *buf = NULL;
	size_t got = 0, size;
	ssize_t k = 1;
	int fd, rc = -1;

	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return disk_not_a_file(errno) ? err_set(e, ERR_DAMAGED,
		    "%s: not a regular file", path) : err_sys(e, path, "open");
	if (fstat(fd, &st) != 0) {
		err_sys(e, path, "stat");
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size > max) {
		err_set(e, ERR_DAMAGED, "%s: not a file of at most %zu bytes",
		    path, max);
		goto out;
	}
	size = (size_t)st.st_size;
	buf = xmalloc(size + 1);
	while (got < size && k != 0) {
		k = read(fd, buf + got, size - got);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			err_sys(e, path, "read");
			goto out;
		}
		got += (size_t)k;
	}
	buf[got] = '\0';
	*p = buf;
	*n = got;
	buf = NULL;
	rc = 0;
out:
	free(buf);
	close(fd);
	return rc;
}

/* What a lock file says, "" if nothing. */
static void
read_pid(int fd, char pid[PID_TEXT_MAX])
{
	ssize_t k = pread(fd, pid, PID_TEXT_MAX - 1, 0);

	pid[k > 0 ? k : 0] = '\0';
	pid[strcspn(pid, "\n")] = '\0';
}

/* Names whoever holds the lock, as far as the file tells. */
static int
held(int fd, const char *path, struct err *e)
{
	char pid[PID_TEXT_MAX];

	read_pid(fd, pid);
	return err_set(e, ERR_LOCKED,
	    "%s: locked by another process (pid %s)", path,
	    pid[0] != '\0' ? pid : "unknown");
}

/* A lock file of ours, or that was there: then it keeps its mode and owner.
 * Whoever could open it could hold it: so only those who may write can. */
static int
open_lock(const char *path, const struct disk_owner *o, struct err *e)
{
	int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, fd;
	mode_t mode = o->file_mode & (0222 | (o->file_mode & 0222) << 1);
	struct stat st;

	fd = open(path, flags | O_CREAT | O_EXCL, 0600);
	if (fd >= 0) {
		if (give(fd, o, mode, path, e) == 0)
			return fd;
		close(fd);
		return -1;
	}
	if (errno == EEXIST)
		fd = open(path, flags);
	if (fd < 0)
		return err_sys(e, path, "open");
	if (fstat(fd, &st) != 0)
		err_sys(e, path, "stat");
	else if (S_ISREG(st.st_mode) && st.st_nlink <= 1)
		return fd;
	else
		err_set(e, ERR_SYSTEM, "%s: not a plain file", path);
	close(fd);
	return -1;
}

int
disk_lock(const char *path, const struct disk_owner *o, int *fd,
    struct err *e)
{
	char pid[PID_TEXT_MAX];
	struct err ignored;
	int f, rc, tries;

	*fd = -1;
	if ((f = open_lock(path, o, e)) < 0)
		return -1;
	for (tries = 0; (rc = flock(f, LOCK_EX | LOCK_NB)) != 0 &&
	    errno == EWOULDBLOCK && tries < LOCK_TRIES; tries++)
		sleep_ms(LOCK_STEP_MS);
	if (rc != 0) {
		if (errno == EWOULDBLOCK)
			held(f, path, e);
		else if (errno == ENOTSUP || errno == ENOLCK ||
		    errno == ENOSYS || errno == EINVAL) {
			close(f);
			return 0;
		} else
			err_sys(e, path, "lock");
		close(f);
		return -1;
	}
	/* The pid is a courtesy: a full disk must not keep us from locking. */
	snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
	if (disk_truncate(f, 0, path, &ignored) != 0 ||
	    disk_pwrite(f, pid, strlen(pid), 0, path, &ignored) != 0)
		log_line(LOG_DEBUG, "cannot note pid in lock file", "error",
		    ignored.text, NULL);
	*fd = f;
	return 0;
}

int
disk_lock_held(const char *path, long *pid, struct err *e)
{
	char text[PID_TEXT_MAX];
	struct stat st;
	int fd, rc = 0;

	*pid = 0;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 :
		    err_sys(e, path, "open");
	if (fstat(fd, &st) != 0)
		rc = err_sys(e, path, "stat");
	else if (S_ISREG(st.st_mode) && flock(fd, LOCK_SH | LOCK_NB) != 0 &&
	    errno == EWOULDBLOCK) {
		rc = 1;
		read_pid(fd, text);
		*pid = strtol(text, NULL, 10);
	}
	close(fd);
	return rc;
}
