/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into an application: now and then a file cannot be made durable.
 * EIO is the probability, EIO_SEED the seed.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int
is_time(void)
{
	static double rate = -1;
	const char *s;

	if (rate < 0) {
		s = getenv("EIO");
		rate = s != NULL ? atof(s) : 0;
		s = getenv("EIO_SEED");
		srand48(s != NULL ? atol(s) : 1);
	}
	return drand48() < rate;
}

static int
sync_by(const char *name, int fd)
{
	int (*next)(int);

	if (is_time()) {
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
