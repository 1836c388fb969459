/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into an application, which then has accidents:
 *
 *	GHOST	probability that it dies after the commit frame of a
 *		transaction is in the WAL and before the wal-index says so
 *	EIO	probability that a file cannot be made durable
 *	SEED	of both
 *
 * SQLite writes a frame as its header of 24 bytes and then, right behind it,
 * the page; a header whose second word is not 0 is that of a commit.
 */
#define _GNU_SOURCE

#include <sys/types.h>

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define WAL_HEADER 32
#define FRAME_HEADER 24

static double ghost, eio;
static int commit_fd = -1;
static off64_t commit_page;

static double
number(const char *name)
{
	const char *s = getenv(name);

	return s != NULL ? atof(s) : 0;
}

__attribute__((constructor)) static void
begin(void)
{
	ghost = number("GHOST");
	eio = number("EIO");
	srand48((long)number("SEED"));
}

static void
look(int fd, const unsigned char *p, size_t n, off64_t off)
{
	if (n == FRAME_HEADER && off >= WAL_HEADER) {
		commit_fd = (p[4] | p[5] | p[6] | p[7]) != 0 ? fd : -1;
		commit_page = off + FRAME_HEADER;
	} else if (fd == commit_fd && off == commit_page) {
		commit_fd = -1;
		if (drand48() < ghost)
			kill(getpid(), SIGKILL);
	}
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t off)
{
	static ssize_t (*next)(int, const void *, size_t, off64_t);
	ssize_t done;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "pwrite64");
	done = next(fd, p, n, off);
	look(fd, p, n, off);
	return done;
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	return pwrite64(fd, p, n, off);
}

static int
sync_by(const char *name, int fd)
{
	int (*next)(int);

	if (drand48() < eio) {
		errno = EIO;
		return -1;
	}
	*(void **)&next = dlsym(RTLD_NEXT, name);
	return next(fd);
}

int
fdatasync(int fd)
{
	return sync_by("fdatasync", fd);
}

int
fsync(int fd)
{
	return sync_by("fsync", fd);
}
