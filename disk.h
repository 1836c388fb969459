/* SPDX-License-Identifier: ISC */
/*
 * Every call that changes the file system goes through here.  All return 0
 * or -1 with *e filled, naming the path.
 */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util.h"

/* Mode and owner of what is created: the database's, so never wider
 * (directories: what that file mode means for one, but no more than the
 * database's own directory grants, and never written to by others).  Owner is
 * set where we may. */
struct disk_owner {
	mode_t file_mode, dir_mode;
	uid_t uid;
	gid_t gid;
};

/* Taken from the database file and its directory. */
int	disk_owner_of(const char *path, struct disk_owner *o, struct err *e);
/* 0600, 0700 and ourselves. */
void	disk_owner_private(struct disk_owner *o);

/* What tells a file and every change of it: compared for equality only. */
struct disk_stat {
	uint64_t dev, ino, size;
	int64_t mtime_ns, ctime_ns;
};
int	disk_stat(const char *path, struct disk_stat *s, struct err *e);
bool	disk_stat_equal(const struct disk_stat *a,
	    const struct disk_stat *b);
/* Whether there is something of that name, a link too: 1; 0; -1 if that cannot
 * be told. */
int	disk_exists(const char *path, struct err *e);
int	disk_exists_in(int dir, const char *name, const char *path,
	    struct err *e);

/* A new empty file, a stale one of that name removed first; its descriptor
 * (read and write, close-on-exec) or -1. */
int	disk_create(const char *path, const struct disk_owner *o,
	    struct err *e);
/* The same in an open directory; path is for the message. */
int	disk_create_in(int dir, const char *name,
	    const struct disk_owner *o, const char *path, struct err *e);
int	disk_write(int fd, const void *p, size_t n, const char *path,
	    struct err *e);
int	disk_pwrite(int fd, const void *p, size_t n, int64_t off,
	    const char *path, struct err *e);
/* Asks the system to begin with the disk: no promise, and nothing to fail. */
void	disk_start_writing(int fd, int64_t off, int64_t n);
/* As many of n bytes at off as the file has; their number or -1. */
ssize_t	disk_pread(int fd, void *p, size_t n, uint64_t off, const char *path,
	    struct err *e);
int	disk_truncate(int fd, int64_t size, const char *path, struct err *e);
/* A failure is final for the file: drop it and write it again. */
int	disk_sync(int fd, const char *path, struct err *e);
/* Access and modification time: now. */
int	disk_touch(int fd, const char *path, struct err *e);
/* Access and modification time, in ms since 1970. */
int	disk_set_time(int fd, int64_t ms, const char *path, struct err *e);
/* Closes and sets *fd to -1, whatever the answer; -1 is left alone. */
int	disk_close(int *fd, const char *path, struct err *e);

int	disk_rename(const char *from, const char *to, struct err *e);
int	disk_link(const char *from, const char *to, struct err *e);
/* Entries of open directories; path is the new one, or the one that goes, for
 * the message. */
int	disk_rename_in(int dir, const char *from, const char *to,
	    const char *path, struct err *e);
int	disk_link_in(int from_dir, const char *from, int dir, const char *to,
	    const char *path, struct err *e);
int	disk_unlink_in(int dir, const char *name, const char *path,
	    struct err *e);
/* An absent file is fine. */
int	disk_unlink(const char *path, struct err *e);
/* mkdir -p; each new directory is made durable in its parent. */
int	disk_mkdirs(const char *path, const struct disk_owner *o,
	    struct err *e);
/* Where the file system refuses (EINVAL, ENOTSUP), that is not a failure. */
int	disk_sync_dir(const char *path, struct err *e);
int	disk_sync_in(int dir, const char *path, struct err *e);

/* Directory name of directory at (AT_FDCWD), for reading: its descriptor.  If
 * not link, a symbolic link is refused; path is for the message. */
int	disk_open_dir(int at, const char *name, bool link, const char *path,
	    struct err *e);
/* The same for one that is made, durably, if it is not there; no link. */
int	disk_make_dir(int at, const char *name, const struct disk_owner *o,
	    const char *path, struct err *e);

/* The whole small file, replaced in one step: PATH.tmp, fsync, rename, fsync
 * of the directory, which may be a symbolic link if so said. */
int	disk_replace(const char *path, bool link, const void *p, size_t n,
	    const struct disk_owner *o, struct err *e);
/* Whether an open with O_NOFOLLOW failed as the name is a symbolic link or a
 * socket. */
bool	disk_not_a_file(int code);
/* Whether fd is a plain file: ERR_DAMAGED if it is not. */
int	disk_check_file(int fd, const char *path, struct err *e);
/* The whole file if it has at most max bytes, malloc'd with a NUL behind.
 * Anything but a plain file is ERR_DAMAGED: no link is followed, no FIFO
 * waited for. */
int	disk_read_all(const char *path, size_t max, char **p, size_t *n,
	    struct err *e);

/*
 * An exclusive flock on path, which is created where absent and then holds
 * our pid.  Held by another: ERR_LOCKED, naming its pid.  Not supported there:
 * *fd is -1 and 0 is returned.  Closing *fd releases it.
 */
int	disk_lock(const char *path, const struct disk_owner *o, int *fd,
	    struct err *e);
/* Whether somebody holds it: 1, with *pid as the file has it (0: it has none);
 * 0, also if there is no such file or there are no locks; -1. */
int	disk_lock_held(const char *path, long *pid, struct err *e);

#endif
