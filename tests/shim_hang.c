/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into the program under test: while the file $HANG exists, no file
 * below $HANG_ROOT can be made durable: fsync does not return.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int
is_below(int fd, const char *root)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	return strncmp(path, root, strlen(root)) == 0;
}

static void
hang(int fd)
{
	static const struct timespec step = { 0, 10000000 };
	const char *file = getenv("HANG"), *root = getenv("HANG_ROOT");

	while (file != NULL && root != NULL && is_below(fd, root) &&
	    access(file, F_OK) == 0)
		nanosleep(&step, NULL);
}

int
fdatasync(int fd)
{
	int (*next)(int);

	hang(fd);
	*(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
	return next(fd);
}

int
fsync(int fd)
{
	int (*next)(int);

	hang(fd);
	*(void **)&next = dlsym(RTLD_NEXT, "fsync");
	return next(fd);
}
