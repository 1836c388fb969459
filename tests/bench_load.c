/* SPDX-License-Identifier: ISC */
/*
 * An application that notes how long its commits take, and how long until the
 * replica has them.
 *
 *	bench_load DB LEVEL0 MODE ARG SECONDS SEED
 *
 * MODE	gap	a commit each ARG/2 to ARG*3/2 ms
 *	rate	ARG commits a second
 *	full	one after the other; ARG is not looked at
 *	burst	ARG transactions of 1 MB, one after the other
 *
 * Each commit changes the row of the table "mark" and one of "t".  The mark is
 * eight bytes that no other page has, and the number of the commit, made to
 * look random: so compression leaves both as they are.  The table is the first
 * of its database; a thread that waits for files in LEVEL0, a directory ("-":
 * none), looks for the mark at their begin.  A first commit, whose time is not
 * counted, is waited for, as is the last.
 *
 * Prints NAME VALUE pairs on one line; times in ms, those of a commit from
 * BEGIN to the return of COMMIT, those of a replica from there to the rename of
 * the first file that has it.
 */
#define _GNU_SOURCE

#include <sys/inotify.h>
#include <sys/stat.h>

#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_COMMITS 4000000
#define MAX_FILES 1000000
#define HEAD (64 * 1024)	/* the mark is among the first pages */
#define MASK 0xa7c3915du
#define BURST_BYTES (1 << 20)
#define PAYLOAD 200
#define PATIENCE_MS 120000

static const unsigned char magic[8] = {
	0xb1, 0x5e, 0x93, 0x2c, 0xe8, 0x47, 0xd0, 0x7a
};

struct seen {
	double at;
	uint32_t mark;		/* that the replica has then */
};

static struct seen seen[MAX_FILES];
static size_t files;
static int watch_fd;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static double took[MAX_COMMITS], done[MAX_COMMITS];
static uint32_t commits;	/* numbered from 1 */
static uint64_t rnd;
static sqlite3 *db;
static sqlite3_stmt *begin, *mark, *change, *insert, *commit;
static int64_t rows;

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void
wait_until(double ms)
{
	struct timespec ts;

	ts.tv_sec = (time_t)(ms / 1e3);
	ts.tv_nsec = (long)((ms - (double)ts.tv_sec * 1e3) * 1e6);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) != 0)
		continue;
}

static uint64_t
next_random(void)
{
	rnd ^= rnd << 13;
	rnd ^= rnd >> 7;
	rnd ^= rnd << 17;
	return rnd;
}

static void
randomize(unsigned char *p, size_t n)
{
	uint64_t v;

	for (; n >= sizeof v; p += sizeof v, n -= sizeof v) {
		v = next_random();
		memcpy(p, &v, sizeof v);
	}
}

/* The replica */

static uint32_t
mark_of(const char *path)
{
	static unsigned char buf[HEAD];
	const unsigned char *p = NULL;
	int fd = open(path, O_RDONLY);
	ssize_t n;
	uint32_t v;

	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof buf);
	close(fd);
	if (n > 0)
		p = memmem(buf, (size_t)n, magic, sizeof magic);
	if (p == NULL || p + sizeof magic + sizeof v > buf + n)
		return 0;
	memcpy(&v, p + sizeof magic, sizeof v);
	return v ^ MASK;
}

static void
note(const char *dir, const struct inotify_event *ev)
{
	char path[4096];
	double at = now();
	uint32_t v;

	snprintf(path, sizeof path, "%s/%s", dir, ev->name);
	v = mark_of(path);
	pthread_mutex_lock(&lock);
	if (files < MAX_FILES) {
		seen[files].at = at;
		seen[files].mark = files == 0 || v > seen[files - 1].mark ? v :
		    seen[files - 1].mark;
		files++;
	}
	pthread_mutex_unlock(&lock);
}

static void *
watch(void *dir)
{
	static char buf[65536]
	    __attribute__((aligned(__alignof__(struct inotify_event))));
	const struct inotify_event *ev;
	ssize_t n, i;

	for (;;) {
		n = read(watch_fd, buf, sizeof buf);
		for (i = 0; i < n; i += (ssize_t)sizeof *ev + ev->len) {
			ev = (const void *)(buf + i);
			if (ev->mask & IN_Q_OVERFLOW)
				errx(1, "too many files at once");
			note(dir, ev);
		}
	}
	return NULL;
}

static void
start_watch(char *dir)
{
	pthread_t t;

	watch_fd = inotify_init1(IN_CLOEXEC);
	if (watch_fd < 0 || inotify_add_watch(watch_fd, dir, IN_MOVED_TO) < 0)
		err(1, "%s", dir);
	if (pthread_create(&t, NULL, watch, dir) != 0)
		errx(1, "no thread");
}

static void
await(uint32_t number)
{
	double until = now() + PATIENCE_MS;
	uint32_t v = 0;

	while (v < number) {
		if (now() > until)
			errx(1, "commit %u is not in the replica", number);
		wait_until(now() + 1);
		pthread_mutex_lock(&lock);
		v = files > 0 ? seen[files - 1].mark : 0;
		pthread_mutex_unlock(&lock);
	}
}

/* The application */

static void
step(sqlite3_stmt *s)
{
	if (sqlite3_step(s) != SQLITE_DONE || sqlite3_reset(s) != SQLITE_OK)
		errx(1, "%s: %s", sqlite3_sql(s), sqlite3_errmsg(db));
}

static sqlite3_stmt *
prepare(const char *sql)
{
	sqlite3_stmt *s;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		errx(1, "%s: %s", sql, sqlite3_errmsg(db));
	return s;
}

static void
open_db(const char *path)
{
	sqlite3_stmt *s;

	if (sqlite3_open(path, &db) != SQLITE_OK)
		errx(1, "%s: %s", path, sqlite3_errmsg(db));
	sqlite3_busy_timeout(db, 10000);
	sqlite3_exec(db, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
	s = prepare("SELECT max(id) FROM t");
	if (sqlite3_step(s) != SQLITE_ROW)
		errx(1, "%s: %s", path, sqlite3_errmsg(db));
	rows = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	begin = prepare("BEGIN IMMEDIATE");
	mark = prepare("UPDATE mark SET v = ?1");
	change = prepare("UPDATE t SET b = ?1 WHERE id = ?2");
	insert = prepare("INSERT INTO t(a, b) VALUES('burst', ?1)");
	commit = prepare("COMMIT");
}

static void
commit_one(int burst)
{
	static unsigned char data[BURST_BYTES], m[sizeof magic + 4];
	uint32_t v = (commits + 1) ^ MASK;
	int n = burst ? BURST_BYTES : PAYLOAD;
	double start;

	if (commits + 1 >= MAX_COMMITS)
		errx(1, "too many commits");
	randomize(data, (size_t)n);
	memcpy(m, magic, sizeof magic);
	memcpy(m + sizeof magic, &v, sizeof v);
	sqlite3_bind_blob(mark, 1, m, sizeof m, SQLITE_STATIC);
	sqlite3_bind_blob(burst ? insert : change, 1, data, n, SQLITE_STATIC);
	sqlite3_bind_int64(change, 2,
	    1 + (int64_t)(next_random() % (uint64_t)rows));
	start = now();
	step(begin);
	step(mark);
	step(burst ? insert : change);
	step(commit);
	commits++;
	done[commits] = now();
	took[commits] = done[commits] - start;
}

static void
work(const char *mode, double arg, double seconds)
{
	double start = now(), at = start, end = start + seconds * 1e3;
	int full = strcmp(mode, "full") == 0, gap = strcmp(mode, "gap") == 0;

	if (strcmp(mode, "burst") == 0) {
		for (; arg > 0; arg--)
			commit_one(1);
		return;
	}
	if (gap)
		wait_until(at + arg);	/* the first comes after a pause, too */
	while (now() < end) {
		commit_one(0);
		if (full)
			continue;
		at = gap ? now() + arg * (0.5 +
		    (double)(next_random() % 1000) / 1e3) : at + 1e3 / arg;
		wait_until(at);
	}
}

/* The result */

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
print(const char *name, double *v, size_t n)
{
	qsort(v, n, sizeof *v, by_size);
	printf(" %s_p50 %.4f %s_p99 %.4f %s_p999 %.4f %s_max %.4f", name,
	    v[n / 2], name, v[n * 99 / 100], name, v[n * 999 / 1000], name,
	    v[n - 1]);
}

/* From commit to file; the array of what the commits took is used up. */
static void
print_lags(uint32_t first)
{
	uint32_t i;
	size_t k = 0;

	for (i = first; i <= commits; i++) {
		while (seen[k].mark < i)
			k++;
		took[i] = seen[k].at > done[i] ? seen[k].at - done[i] : 0;
	}
	printf(" last %.4f", took[commits]);
	print("lag", took + first, commits - first + 1);
	printf(" files %zu", files);
}

int
main(int argc, char **argv)
{
	uint32_t first = 2;
	double start, end;
	struct stat st;
	char wal[4096];
	int watched;

	if (argc != 7)
		errx(1, "see the top of bench_load.c");
	rnd = strtoull(argv[6], NULL, 10) * 2 + 1;
	watched = strcmp(argv[2], "-") != 0;
	if (watched)
		start_watch(argv[2]);
	open_db(argv[1]);
	commit_one(0);
	if (watched)
		await(1);
	start = now();
	work(argv[3], atof(argv[4]), atof(argv[5]));
	end = now();
	snprintf(wal, sizeof wal, "%s-wal", argv[1]);
	if (watched)
		await(commits);
	if (commits < first)
		errx(1, "no commit");
	printf("commits %u seconds %.4f wal %ld", commits - 1,
	    (end - start) / 1e3, stat(wal, &st) == 0 ? (long)st.st_size : 0L);
	print("commit", took + first, commits - first + 1);
	if (watched)
		print_lags(first);
	putchar('\n');
	sqlite3_close(db);
	return 0;
}
