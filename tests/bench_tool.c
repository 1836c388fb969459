/* SPDX-License-Identifier: ISC */
/*
 * What bench.py measures with, and the limits that it measures against:
 *
 *	run OUT CMD...	runs CMD, its output into OUT; prints seconds of wall
 *			clock and of CPU, most kilobytes resident, and status.
 *			A child of Python would count Python's own memory, as
 *			the kernel keeps the most of before exec().
 *	read FILE	reads it
 *	copy FILE TO	the same, and writes and syncs TO
 *	lz4 FILE [OLD]	reads a database and compresses each page, or those
 *			that differ from OLD's; prints pages and bytes
 */
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <err.h>
#include <fcntl.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BUF (256 * 1024)

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double
seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static int
open_or_die(const char *path, int flags)
{
	int fd = open(path, flags, 0666);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static int
run(const char *out, char **cmd)
{
	double start = now(), end;
	struct rusage u;
	pid_t pid = fork();
	int fd, status;

	if (pid == 0) {
		fd = open_or_die(out, O_WRONLY | O_CREAT | O_TRUNC);
		dup2(fd, 1);
		dup2(fd, 2);
		close(0);
		open_or_die("/dev/null", O_RDONLY);
		execvp(cmd[0], cmd);
		err(127, "%s", cmd[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		err(1, "%s", cmd[0]);
	end = now();
	getrusage(RUSAGE_CHILDREN, &u);
	printf("%f %f %ld %d\n", end - start, seconds(u.ru_utime) +
	    seconds(u.ru_stime), u.ru_maxrss, WIFEXITED(status) ?
	    WEXITSTATUS(status) : -WTERMSIG(status));
	return 0;
}

/* Up to n bytes, fewer at the end only. */
static size_t
fill(int fd, void *buf, size_t n, const char *path)
{
	size_t got = 0;
	ssize_t k;

	while (got < n && (k = read(fd, (char *)buf + got, n - got)) != 0) {
		if (k < 0)
			err(1, "%s", path);
		got += (size_t)k;
	}
	return got;
}

static int
copy(const char *from, const char *to)
{
	static char buf[BUF];
	int in = open_or_die(from, O_RDONLY), out = to == NULL ? -1 :
	    open_or_die(to, O_WRONLY | O_CREAT | O_TRUNC);
	size_t n;

	while ((n = fill(in, buf, BUF, from)) > 0)
		if (to != NULL && write(out, buf, n) != (ssize_t)n)
			err(1, "%s", to);
	if (to != NULL && (fsync(out) != 0 || close(out) != 0))
		err(1, "%s", to);
	return 0;
}

static size_t
page_size(const unsigned char *header)
{
	size_t n = (size_t)header[16] << 8 | header[17];

	return n == 1 ? 65536 : n;
}

static int
compress(const char *path, const char *old_path)
{
	static char buf[BUF], old[BUF], out[LZ4_COMPRESSBOUND(65536)];
	int fd = open_or_die(path, O_RDONLY), old_fd = old_path == NULL ? -1 :
	    open_or_die(old_path, O_RDONLY);
	size_t n, k, i, size = 0, pages = 0, bytes = 0;

	while ((n = fill(fd, buf, BUF, path)) > 0) {
		if (size == 0)
			size = page_size((unsigned char *)buf);
		if (size < 512)
			errx(1, "%s: not a database", path);
		k = old_path == NULL ? 0 : fill(old_fd, old, BUF, old_path);
		for (i = 0; i < n; i += size) {
			if (i + size <= k &&
			    memcmp(buf + i, old + i, size) == 0)
				continue;
			pages++;
			bytes += (size_t)LZ4_compress_default(buf + i, out,
			    (int)size, (int)sizeof out);
		}
	}
	printf("%zu %zu\n", pages, bytes);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc > 3 && strcmp(argv[1], "run") == 0)
		return run(argv[2], argv + 3);
	if (argc == 3 && strcmp(argv[1], "read") == 0)
		return copy(argv[2], NULL);
	if (argc == 4 && strcmp(argv[1], "copy") == 0)
		return copy(argv[2], argv[3]);
	if (argc > 2 && argc < 5 && strcmp(argv[1], "lz4") == 0)
		return compress(argv[2], argv[3]);
	errx(1, "see the top of bench_tool.c");
}
