/* SPDX-License-Identifier: ISC */
/*
 * litestream-test load: workers, each a thread with a connection of its own,
 * insert into and read from the table load_test at a given rate.  The main
 * thread reports, and ends them when the time is over or a signal came.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "test_cmds.h"

#define NS_PER_S 1000000000
#define NS_PER_MS 1000000
#define REPORT_MS 5000
#define SLICE_MS 20		/* how late a stop may be noticed */
#define MAX_WORKERS 1000
#define MAX_RATE 1000000
#define MAX_PAYLOAD 1000000000	/* SQLite's own limit of a value */
#define BURST_PERIOD_S 10
#define BURST_S 3
#define READ_BACK_S 3600
#define PI 3.14159265358979323846

static const char usage[] =
"Write to and read from a database at a steady rate.\n"
"\n"
"Usage:\n"
"\n"
"	litestream-test load [options]\n"
"\n"
"Options:\n"
"\n"
"	-db PATH          database, which must exist (required)\n"
"	-write-rate N     operations per second of all workers (default 100)\n"
"	-duration D       how long, as 30s or 5m (default 1m)\n"
"	-pattern P        constant, burst, random or wave (default constant)\n"
"	-payload-size N   bytes of data per row (default 1024)\n"
"	-read-ratio R     part of operations that read, 0 to 1 (default 0.2)\n"
"	-workers N        threads (default 1)\n";

enum pattern { CONSTANT, BURST, RANDOM, WAVE, PATTERNS };

static const char *const pattern_names[] = { "constant", "burst", "random",
    "wave" };

struct load {
	const char *path, *pattern_name;
	enum pattern pattern;
	int write_rate, payload_size, worker_count;
	double read_ratio;
	int64_t duration_ms, start_ms;
	atomic_bool stop;
	atomic_llong writes, reads, errors;
};

struct worker {
	struct load *load;
	pthread_t thread;
	bool started;
	sqlite3 *db;
	sqlite3_stmt *insert, *count;
	struct rng rng;
	unsigned char *payload;
};

static volatile sig_atomic_t interrupted;

static void
interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* False if it is time to stop instead. */
static bool
wait_until(struct load *l, int64_t when_ns)
{
	struct timespec ts = { 0, 0 };
	int64_t left;

	while (!atomic_load(&l->stop)) {
		if ((left = when_ns - now_ns()) <= 0)
			return true;
		if (left > SLICE_MS * NS_PER_MS)
			left = SLICE_MS * NS_PER_MS;
		ts.tv_nsec = (long)left;
		nanosleep(&ts, NULL);
	}
	return false;
}

/* A parabola through the zeros and extremes of the sine. */
static double
sine(double x)
{
	double sign = 1;

	x -= 2 * PI * (double)(int64_t)(x / (2 * PI));
	if (x >= PI) {
		x -= PI;
		sign = -1;
	}
	return sign * 4 * x * (PI - x) / (PI * PI);
}

/* The chance that this tick does something; 1 and more is always. */
static double
chance(struct worker *w)
{
	double s = (double)(time_mono_ms() - w->load->start_ms) / 1000;

	switch (w->load->pattern) {
	case BURST:
		return (int64_t)s % BURST_PERIOD_S < BURST_S ? 1 : 0;
	case RANDOM:
		return 2 * rng_unit(&w->rng);
	case WAVE:
		return 1 + 0.4 * sine(s / 10);
	default:
		return 1;
	}
}

static void
failed(struct worker *w, const char *msg)
{
	atomic_fetch_add(&w->load->errors, 1);
	log_line(LOG_ERROR, msg, "error", sqlite3_errmsg(w->db), NULL);
}

static void
insert(struct worker *w)
{
	char text[2 * TEXT_SIZE];
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	snprintf(text, sizeof text, "load_%lld",
	    (long long)ts.tv_sec * NS_PER_S + ts.tv_nsec);
	sqlite3_bind_blob(w->insert, 1, w->payload, w->load->payload_size,
	    SQLITE_STATIC);
	sqlite3_bind_text(w->insert, 2, text, -1, SQLITE_STATIC);
	sqlite3_bind_int64(w->insert, 3, (int64_t)(rng_next(&w->rng) >> 1));
	sqlite3_bind_int64(w->insert, 4, ts.tv_sec);
	sqlite3_step(w->insert);
	if (sqlite3_reset(w->insert) != SQLITE_OK)
		failed(w, "Write failed");
	else
		atomic_fetch_add(&w->load->writes, 1);
}

static void
count(struct worker *w)
{
	sqlite3_bind_int64(w->count, 1, time_wall_ms() / 1000 - READ_BACK_S);
	sqlite3_step(w->count);
	if (sqlite3_reset(w->count) != SQLITE_OK)
		failed(w, "Read failed");
	else
		atomic_fetch_add(&w->load->reads, 1);
}

/* A worker that comes late drops the ticks it missed, but for one. */
static void *
work(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;
	int64_t tick_ns = (int64_t)NS_PER_S * l->worker_count / l->write_rate;
	int64_t next_ns = now_ns() + tick_ns;

	for (; wait_until(l, next_ns); next_ns += tick_ns) {
		if (now_ns() - next_ns > tick_ns)
			next_ns = now_ns() - tick_ns;
		if (rng_unit(&w->rng) >= chance(w))
			continue;
		if (rng_unit(&w->rng) < l->read_ratio)
			count(w);
		else
			insert(w);
	}
	return NULL;
}

static int
make_table(const char *path, struct err *e)
{
	sqlite3 *db = NULL;
	int rc;

	if (sql_open(path, false, &db, e) != 0)
		return -1;
	rc = sql_exec(db, "create table", "PRAGMA journal_mode = WAL;"
	    "CREATE TABLE IF NOT EXISTS load_test ("
	    "id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB, "
	    "text_field TEXT, int_field INTEGER, timestamp INTEGER);"
	    "CREATE INDEX IF NOT EXISTS idx_load_test_timestamp "
	    "ON load_test(timestamp)", e);
	sqlite3_close(db);
	return rc;
}

static int
open_worker(struct worker *w, struct load *l, struct err *e)
{
	w->load = l;
	rng_seed(&w->rng);
	w->payload = xmalloc((size_t)l->payload_size);
	rng_fill(&w->rng, w->payload, (size_t)l->payload_size);
	if (sql_open(l->path, false, &w->db, e) != 0 ||
	    sql_exec(w->db, "set synchronous", "PRAGMA synchronous = NORMAL",
	    e) != 0 ||
	    sql_prepare(w->db, "insert", "INSERT INTO load_test (data, "
	    "text_field, int_field, timestamp) VALUES (?, ?, ?, ?)",
	    &w->insert, e) != 0)
		return -1;
	return sql_prepare(w->db, "count", "SELECT count(*) FROM load_test "
	    "WHERE timestamp > ?", &w->count, e);
}

static void
close_worker(struct worker *w)
{
	if (w->started)
		pthread_join(w->thread, NULL);
	sqlite3_finalize(w->insert);
	sqlite3_finalize(w->count);
	sqlite3_close(w->db);
	free(w->payload);
}

static int
start_worker(struct worker *w, struct err *e)
{
	int code = pthread_create(&w->thread, NULL, work, w);

	if (code != 0)
		return err_set(e, ERR_SYSTEM, "start worker: %s",
		    strerror(code));
	w->started = true;
	return 0;
}

/* Totals are since the start; only the rates are of the time since then. */
static void
report(struct load *l, int64_t *writes, int64_t *reads, int64_t ms)
{
	int64_t w = atomic_load(&l->writes), r = atomic_load(&l->reads);

	log_line(LOG_INFO, "Load statistics",
	    "writes_per_sec",
	    FLOAT(1, (double)(w - *writes) * 1000 / (double)ms),
	    "reads_per_sec",
	    FLOAT(1, (double)(r - *reads) * 1000 / (double)ms),
	    "total_writes", I64(w), "total_reads", I64(r),
	    "errors", I64(atomic_load(&l->errors)), "elapsed",
	    DURATION((time_mono_ms() - l->start_ms + 500) / 1000 * 1000),
	    NULL);
	*writes = w;
	*reads = r;
}

static void
watch(struct load *l)
{
	int64_t end_ms = l->start_ms + l->duration_ms, last_ms = l->start_ms;
	int64_t writes = 0, reads = 0, now_ms = l->start_ms;

	while (!interrupted && now_ms < end_ms) {
		sleep_ms(end_ms - now_ms < SLICE_MS ? end_ms - now_ms :
		    SLICE_MS);
		now_ms = time_mono_ms();
		if (now_ms - last_ms >= REPORT_MS) {
			report(l, &writes, &reads, now_ms - last_ms);
			last_ms = now_ms;
		}
	}
	if (interrupted)
		log_line(LOG_INFO, "Received interrupt signal, "
		    "stopping load generation", NULL);
}

static void
report_all(struct load *l)
{
	int64_t ms = time_mono_ms() - l->start_ms;
	int64_t writes = atomic_load(&l->writes);
	int64_t reads = atomic_load(&l->reads);
	double s = ms > 0 ? (double)ms / 1000 : 1;

	log_line(LOG_INFO, "Load generation complete",
	    "duration", DURATION((ms + 500) / 1000 * 1000),
	    "total_writes", I64(writes), "total_reads", I64(reads),
	    "total_errors", I64(atomic_load(&l->errors)),
	    "avg_writes_per_sec", FLOAT(1, (double)writes / s),
	    "avg_reads_per_sec", FLOAT(1, (double)reads / s), NULL);
}

static int
run(struct load *l, struct err *e)
{
	struct worker *workers = xcalloc((size_t)l->worker_count,
	    sizeof *workers);
	int i, rc = make_table(l->path, e);

	for (i = 0; i < l->worker_count && rc == 0; i++)
		rc = open_worker(&workers[i], l, e);
	l->start_ms = time_mono_ms();
	for (i = 0; i < l->worker_count && rc == 0; i++)
		rc = start_worker(&workers[i], e);
	if (rc == 0)
		watch(l);
	atomic_store(&l->stop, true);
	for (i = 0; i < l->worker_count; i++)
		close_worker(&workers[i]);
	free(workers);
	if (rc == 0)
		report_all(l);
	return rc;
}

static int
check(struct load *l, struct err *e)
{
	int i;

	for (i = 0; i < PATTERNS; i++)
		if (strcmp(l->pattern_name, pattern_names[i]) == 0)
			break;
	l->pattern = (enum pattern)i;
	if (l->path[0] == '\0')
		return err_set(e, ERR_USAGE, "database path required");
	if (i == PATTERNS)
		return err_set(e, ERR_USAGE, "invalid pattern: %s",
		    l->pattern_name);
	if (l->write_rate < 1 || l->write_rate > MAX_RATE)
		return err_set(e, ERR_USAGE,
		    "write rate must be between 1 and %d", MAX_RATE);
	if (l->duration_ms < 0)
		return err_set(e, ERR_USAGE, "duration must not be negative");
	if (l->payload_size < 0 || l->payload_size > MAX_PAYLOAD)
		return err_set(e, ERR_USAGE, "invalid payload size: %d",
		    l->payload_size);
	if (!(l->read_ratio >= 0 && l->read_ratio <= 1))
		return err_set(e, ERR_USAGE,
		    "read ratio must be between 0 and 1");
	if (l->worker_count < 1 || l->worker_count > MAX_WORKERS)
		return err_set(e, ERR_USAGE,
		    "workers must be between 1 and %d", MAX_WORKERS);
	return sql_exists(l->path, e);
}

int
test_load(const char *self, int argc, char **argv, struct err *e)
{
	struct load l = { .path = "", .pattern_name = "constant",
	    .write_rate = 100, .payload_size = 1024, .worker_count = 1,
	    .read_ratio = 0.2, .duration_ms = 60000 };
	const struct opt opts[] = {
		{ "db", OPT_STRING, &l.path },
		{ "write-rate", OPT_INT, &l.write_rate },
		{ "duration", OPT_DURATION, &l.duration_ms },
		{ "pattern", OPT_STRING, &l.pattern_name },
		{ "payload-size", OPT_INT, &l.payload_size },
		{ "read-ratio", OPT_FLOAT, &l.read_ratio },
		{ "workers", OPT_INT, &l.worker_count },
		{ NULL, OPT_BOOL, NULL },
	};
	struct sigaction sa = { .sa_handler = interrupt,
	    .sa_flags = SA_RESTART };
	int status;

	(void)self;
	if (!test_flags(opts, usage, argc, argv, &status, e))
		return status;
	if (check(&l, e) != 0)
		return TEST_FAILED;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	log_line(LOG_INFO, "Starting load generation", "db", l.path,
	    "write_rate", I64(l.write_rate),
	    "duration", DURATION(l.duration_ms), "pattern", l.pattern_name,
	    "payload_size", I64(l.payload_size),
	    "read_ratio", FLOAT(2, l.read_ratio),
	    "workers", I64(l.worker_count), NULL);
	return run(&l, e) == 0 ? TEST_OK : TEST_FAILED;
}
