/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into litestream: moves its clocks.  CLOCK_FILE, mapped, has five
 * numbers of 64 bits in the machine's byte order:
 *
 *	0	sequence: odd while the rest is being written
 *	8	milliseconds to add to the wall clock
 *	16	milliseconds to add to the time since boot
 *	24	how much faster both go, and all waiting; at least 1
 *	32	the real time since boot, in ms, from when they do
 *
 * CLOCK_MONOTONIC stays as it is: it is only ever the base of a wait, which the
 * kernel measures by its own.  So a moved clock looks to a program that waits
 * as it does after a suspend.
 */
#define _GNU_SOURCE

#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NS INT64_C(1000000000)
#define MS INT64_C(1000000)
#define SIZE 40

static const volatile int64_t *file;

__attribute__((constructor)) static void
start(void)
{
	const char *path = getenv("CLOCK_FILE");
	void *p = MAP_FAILED;
	int fd;

	if (path == NULL)
		return;
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0)
		p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		abort();
	close(fd);
	file = p;
}

struct shift {
	int64_t wall_ms, boot_ms, speed, from_ms;
};

static struct shift
look(void)
{
	struct shift s = { 0, 0, 1, 0 };
	int64_t seq;

	while (file != NULL) {
		seq = file[0];
		__sync_synchronize();
		s.wall_ms = file[1];
		s.boot_ms = file[2];
		s.speed = file[3];
		s.from_ms = file[4];
		__sync_synchronize();
		if (seq % 2 == 0 && seq == file[0])
			break;
	}
	return s;
}

static int64_t
real_ns(clockid_t id)
{
	struct timespec ts = { 0, 0 };

	syscall(SYS_clock_gettime, id, &ts);
	return ts.tv_sec * NS + ts.tv_nsec;
}

static struct timespec
as_ts(int64_t ns)
{
	struct timespec ts = { ns / NS, ns % NS };

	if (ts.tv_nsec < 0) {
		ts.tv_nsec += NS;
		ts.tv_sec--;
	}
	return ts;
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	struct shift s;
	int64_t ns;

	if (id != CLOCK_REALTIME && id != CLOCK_BOOTTIME)
		return (int)syscall(SYS_clock_gettime, id, ts);
	s = look();
	ns = real_ns(id);
	ns += (id == CLOCK_REALTIME ? s.wall_ms : s.boot_ms) * MS;
	if (s.speed > 1)
		ns += (real_ns(CLOCK_BOOTTIME) - s.from_ms * MS) *
		    (s.speed - 1);
	*ts = as_ts(ns);
	return 0;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *t)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (t != NULL)
		*t = ts.tv_sec;
	return ts.tv_sec;
}

/* Waiting */

int
nanosleep(const struct timespec *ts, struct timespec *rest)
{
	struct timespec t = as_ts((ts->tv_sec * NS + ts->tv_nsec) /
	    look().speed);

	return (int)syscall(SYS_nanosleep, &t, rest);
}

int
pthread_cond_timedwait(pthread_cond_t *restrict cond,
    pthread_mutex_t *restrict m, const struct timespec *restrict until)
{
	static int (*next)(pthread_cond_t *, pthread_mutex_t *,
	    const struct timespec *);
	struct timespec t;
	int64_t now = real_ns(CLOCK_MONOTONIC), ns;

	if (next == NULL)
		*(void **)&next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait",
		    "GLIBC_2.3.2");
	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
	ns = until->tv_sec * NS + until->tv_nsec;
	t = as_ts(ns > now ? now + (ns - now) / look().speed : ns);
	return next(cond, m, &t);
}

int
pselect(int n, fd_set *restrict in, fd_set *restrict out,
    fd_set *restrict other, const struct timespec *restrict wait,
    const sigset_t *restrict mask)
{
	static int (*next)(int, fd_set *, fd_set *, fd_set *,
	    const struct timespec *, const sigset_t *);
	struct timespec t;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "pselect");
	if (wait != NULL)
		t = as_ts((wait->tv_sec * NS + wait->tv_nsec) / look().speed);
	return next(n, in, out, other, wait == NULL ? NULL : &t, mask);
}
