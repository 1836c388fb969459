/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into an application: dies after the commit frame of a transaction
 * is in the WAL and before the wal-index says so.
 *
 * SQLite writes a frame as its header of 24 bytes and then, right behind it,
 * the page; a header whose second word is not 0 is that of a commit.  GHOST is
 * the probability, GHOST_SEED the seed.
 */
#define _GNU_SOURCE

#include <sys/types.h>

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define WAL_HEADER 32
#define FRAME_HEADER 24

static int commit_fd = -1;
static off64_t commit_page;

static int
is_time(void)
{
	static double rate = -1;
	const char *s;

	if (rate < 0) {
		s = getenv("GHOST");
		rate = s != NULL ? atof(s) : 0;
		s = getenv("GHOST_SEED");
		srand48(s != NULL ? atol(s) : 1);
	}
	return drand48() < rate;
}

static void
look(int fd, const unsigned char *p, size_t n, off64_t off)
{
	if (n == FRAME_HEADER && off >= WAL_HEADER) {
		commit_fd = (p[4] | p[5] | p[6] | p[7]) != 0 ? fd : -1;
		commit_page = off + FRAME_HEADER;
	} else if (fd == commit_fd && off == commit_page) {
		commit_fd = -1;
		if (is_time())
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
