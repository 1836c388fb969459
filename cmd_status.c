/* SPDX-License-Identifier: ISC */
/*
 * litestream status: upstream's columns first, then ours.
 *
 * Each database is looked at by a thread, some at a time: one on a disk that
 * does not answer is said to be that, and the others are told all the same.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "cmd_status.h"
#include "opt.h"
#include "status.h"
#include "target.h"

#define GAP 2			/* spaces between columns */
#define PATIENCE_MS 1000
#define TIMEOUT_MS 30000
#define THREADS_MAX 64
#define KILO 1000.0
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char help[] =
"usage: litestream status [flags] [DB_PATH [REPLICA_URL]]\n"
"\n"
"Says how each database of the configuration, or this one, and its replica\n"
"stand, whether or not a replicator runs.  Status 0 if every commit is in the\n"
"replica and no error is standing, else 1.\n"
"\n"
"  -json          print JSON\n"
"  -running       status 1 also where no replicator runs\n"
"  -timeout TIME  how long to wait for disks (default 30s)\n"
"  -config PATH   configuration file\n"
"  -no-expand-env leave $NAME in it alone\n";

enum column { DATABASE, STATE, LOCAL_TXID, WAL_SIZE, LAG, REPLICA_SIZE, FILES,
	NEWEST, SNAPSHOT, AUDIT, VERIFIED, PID, READERS, ERROR, COLUMNS };

static const char *const title[COLUMNS] = { "database", "status",
	"local txid", "wal size", "lag", "replica", "files", "newest",
	"snapshot", "audit", "verified", "pid", "wal readers", "error" };

static const char *const outcome[] = { [RECEIPT_WHOLE] = "ok",
	[RECEIPT_UNKNOWN] = "unknown", [RECEIPT_DAMAGED] = "damaged" };

struct row {
	char *cell[COLUMNS];
};

struct looks;
struct look {
	struct looks *all;
	struct status_args a;
	struct status s;
	pthread_t thread;
	bool threaded, done;
	bool late;		/* not done in time: its thread goes on */
};

struct looks {
	struct targets of;	/* whose strings the threads use */
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	size_t n, begun, done;
	struct look look[];
};

/* Bytes as upstream prints them: "0 B", "4.2 kB", "33 kB". */
static char *
size_text(uint64_t n)
{
	static const char *const unit[] = { "B", "kB", "MB", "GB", "TB", "PB" };
	double v = (double)n;
	size_t i = 0;

	while (v >= KILO && i + 1 < COUNT(unit)) {
		v /= KILO;
		i++;
	}
	return i > 0 && v < 9.95 ? xasprintf("%.1f %s", v, unit[i]) :
	    xasprintf("%.0f %s", v, unit[i]);
}

static char *
when(int64_t ms)
{
	char buf[TEXT_SIZE];

	return xstrdup(ms > 0 ? time_text(buf, ms, false) : "-");
}

static char *
txid_text(uint64_t txid)
{
	return xstrdup(txid != 0 ? TXID(txid) : "-");
}

/* For a terminal: without bytes that are not printable. */
static char *
safe(const char *s)
{
	size_t size = 4 * strlen(s) + 1;
	char *text = xmalloc(size);

	snprintf(text, size, "%s", s);
	text_make_plain(text, size);
	return text;
}

static char *
lag_text(const struct status *s)
{
	if (s->lag_commits == 0)
		return xstrdup("0");
	if (s->lag_commits < 0)
		return xstrdup("-");
	if (s->lag_ms < 0)
		return xasprintf("%" PRId64 "%s", s->lag_commits,
		    s->lag_more ? "+" : "");
	return xasprintf("%" PRId64 "%s (%" PRId64 "s)", s->lag_commits,
	    s->lag_more ? "+" : "", s->lag_ms / 1000);
}

/* The i-th of those who read the WAL, if it was not among those before. */
static bool
is_new(const struct status *s, int i)
{
	int j;

	for (j = 0; j < i && s->reader[j] != s->reader[i];)
		j++;
	return s->reader[i] != 0 && j == i;
}

/* Their process numbers; ? for one of another machine or container. */
static char *
readers_text(const struct status *s)
{
	char *text = xstrdup(""), *more;
	int i;

	for (i = 0; i < STATUS_MARKS; i++) {
		if (!is_new(s, i))
			continue;
		more = s->reader[i] < 0 ?
		    xasprintf("%s%s?", text, *text != '\0' ? "," : "") :
		    xasprintf("%s%s%ld", text, *text != '\0' ? "," : "",
		    s->reader[i]);
		free(text);
		text = more;
	}
	if (*text != '\0')
		return text;
	free(text);
	return xstrdup("-");
}

/* What stands in the way now, else what last did. */
static const char *
error_of(const struct status *s)
{
	return s->why.kind != ERR_NONE ? s->why.text : s->f.error;
}

static void
fill(struct row *r, const struct target *t, const struct status *s)
{
	r->cell[DATABASE] = safe(t->db);
	r->cell[STATE] = xstrdup(status_name(s->word));
	r->cell[LOCAL_TXID] = txid_text(s->f.txid);
	r->cell[WAL_SIZE] = s->has_wal ? size_text(s->wal_bytes) :
	    xstrdup("-");
	r->cell[LAG] = lag_text(s);
	r->cell[REPLICA_SIZE] = s->root != NULL ? size_text(s->bytes) :
	    xstrdup("-");
	r->cell[FILES] = s->root != NULL ? xasprintf("%zu", s->files) :
	    xstrdup("-");
	r->cell[NEWEST] = when(s->txid_ms);
	r->cell[SNAPSHOT] = when(s->snapshot_ms);
	r->cell[AUDIT] = when(s->f.audit_ms);
	r->cell[VERIFIED] = when(s->receipt.time_ms);
	r->cell[PID] = s->pid != 0 ? xasprintf("%" PRId64, s->pid) :
	    xstrdup("-");
	r->cell[READERS] = readers_text(s);
	if (s->why.kind != ERR_NONE || s->f.error_ms == 0)
		r->cell[ERROR] = xstrdup(s->why.kind != ERR_NONE ?
		    s->why.text : "-");
	else {
		char *at = when(s->f.error_ms), *text = safe(s->f.error);

		r->cell[ERROR] = xasprintf("(over, %s) %s", at, text);
		free(text);
		free(at);
	}
}

static void
print_table(const struct row *row, size_t n)
{
	size_t width[COLUMNS], i, c, k;

	for (c = 0; c < COLUMNS; c++) {
		width[c] = strlen(title[c]);
		for (i = 0; i < n; i++)
			if ((k = strlen(row[i].cell[c])) > width[c])
				width[c] = k;
	}
	for (i = 0; i < n + 1; i++)
		for (c = 0; c < COLUMNS; c++)
			printf("%-*s%s", c + 1 < COLUMNS ?
			    (int)width[c] + GAP : 0, i == 0 ? title[c] :
			    row[i - 1].cell[c], c + 1 < COLUMNS ? "" : "\n");
}

static void
string(const char *key, const char *value)
{
	printf(",\n    \"%s\": ", key);
	json_string(stdout, value);
}

static void
number(const char *key, int64_t v)
{
	printf(",\n    \"%s\": %" PRId64, key, v);
}

static void
time_or_none(const char *key, int64_t ms)
{
	char buf[TEXT_SIZE];

	string(key, ms > 0 ? time_text(buf, ms, true) : "");
}

static void
print_readers(const struct status *s)
{
	bool first = true;
	int i;

	printf(",\n    \"wal_readers\": [");
	for (i = 0; i < STATUS_MARKS; i++)
		if (is_new(s, i)) {
			printf("%s%ld", first ? "" : ", ", s->reader[i]);
			first = false;
		}
	printf("]");
}

/* Keys of r's cells are upstream's, and stay first. */
static void
print_object(const char *db, const struct row *r, const struct status *s)
{
	printf("  {\n    \"database\": ");
	json_string(stdout, db);
	string("status", r->cell[STATE]);
	string("local_txid", r->cell[LOCAL_TXID]);
	string("wal_size", r->cell[WAL_SIZE]);
	printf(",\n    \"running\": %s", s->running ? "true" :
	    "false");
	number("pid", s->pid);
	number("wal_bytes", (int64_t)s->wal_bytes);
	print_readers(s);
	number("lag_commits", s->lag_commits);
	printf(",\n    \"lag_is_minimum\": %s",
	    s->lag_more ? "true" : "false");
	number("lag_ms", s->lag_ms);
	string("replica", s->root != NULL ? s->root : "");
	number("replica_bytes", (int64_t)s->bytes);
	number("replica_files", (int64_t)s->files);
	string("replica_txid", s->txid != 0 ? TXID(s->txid) : "");
	time_or_none("replica_time", s->txid_ms);
	string("snapshot_txid", s->snapshot_txid != 0 ?
	    TXID(s->snapshot_txid) : "");
	time_or_none("snapshot_time", s->snapshot_ms);
	time_or_none("audit_time", s->f.audit_ms);
	number("audit_pages_differed", (int64_t)s->f.differed);
	time_or_none("verify_time", s->receipt.time_ms);
	string("verify_outcome", s->verified ?
	    outcome[s->receipt.outcome] : "");
	string("verify_txid", s->receipt.txid != 0 ?
	    TXID(s->receipt.txid) : "");
	string("error", s->why.kind != ERR_NONE ? s->why.text : "");
	string("last_error", error_of(s));
	time_or_none("last_error_time", s->f.error_ms);
	printf("\n  }");
}

static bool
well(const struct status *s, bool running)
{
	return s->word == STATUS_OK || (s->word == STATUS_STOPPED && !running);
}

static void *
look(void *arg)
{
	struct look *k = arg;

	status_take(&k->a, &k->s);
	pthread_mutex_lock(&k->all->mutex);
	k->done = true;
	k->all->done++;
	pthread_cond_signal(&k->all->cond);
	pthread_mutex_unlock(&k->all->mutex);
	return NULL;
}

static struct looks *
looks_new(const struct targets *l)
{
	struct looks *x = xcalloc(1, sizeof *x + l->n * sizeof x->look[0]);
	struct status_args *a;
	size_t i;

	pthread_mutex_init(&x->mutex, NULL);
	pthread_cond_init(&x->cond, NULL);
	x->of = *l;
	x->n = l->n;
	for (i = 0; i < l->n; i++) {
		x->look[i].all = x;
		a = &x->look[i].a;
		a->db = l->t[i].db;
		a->root = l->t[i].root;
		a->meta = l->t[i].meta;
		a->patience_ms = PATIENCE_MS;
		if (l->t[i].sync_interval_ms > 0)
			a->interval_ms = l->t[i].sync_interval_ms +
			    PATIENCE_MS;
	}
	return x;
}

/* Starts what may be; here, if there can be no thread. */
static void
begin(struct looks *x)
{
	struct look *k;

	while (x->begun < x->n && x->begun - x->done < THREADS_MAX) {
		k = &x->look[x->begun++];
		k->threaded = pthread_create(&k->thread, NULL, look, k) == 0;
		if (k->threaded)
			continue;
		pthread_mutex_unlock(&x->mutex);
		look(k);
		pthread_mutex_lock(&x->mutex);
	}
}

/* Until all have been looked at, or the time is up. */
static void
take_all(struct looks *x, int64_t timeout_ms)
{
	int64_t until = time_wall_ms() + timeout_ms;
	struct timespec ts;
	size_t i;

	ts.tv_sec = (time_t)(until / 1000);
	ts.tv_nsec = (long)(until % 1000) * 1000000;
	pthread_mutex_lock(&x->mutex);
	do
		begin(x);
	while (x->done < x->n && pthread_cond_timedwait(&x->cond, &x->mutex,
	    &ts) == 0);
	for (i = 0; i < x->n; i++)
		x->look[i].late = !x->look[i].done;
	pthread_mutex_unlock(&x->mutex);
}

/* And the targets, unless a thread that is stuck may still use them. */
static void
looks_free(struct looks *x, struct targets *l)
{
	bool stuck = false;
	size_t i;

	for (i = 0; i < x->n; i++) {
		stuck |= x->look[i].late;
		if (x->look[i].threaded && !x->look[i].late)
			pthread_join(x->look[i].thread, NULL);
	}
	if (stuck)
		return;
	pthread_cond_destroy(&x->cond);
	pthread_mutex_destroy(&x->mutex);
	free(x);
	target_free(l);
}

/* Of one whose thread is stuck. */
static void
give_up(struct status *s, const char *db, int64_t timeout_ms)
{
	memset(s, 0, sizeof *s);
	s->word = STATUS_ERROR;
	s->lag_commits = s->lag_ms = -1;
	err_set(&s->why, ERR_SYSTEM, "%s: its disk, or that of the replica, "
	    "does not answer for %" PRId64 " ms", db, timeout_ms);
}

static int
show(struct targets *l, bool json, bool running, int64_t timeout_ms)
{
	struct row *row = xcalloc(l->n, sizeof *row);
	struct looks *x = looks_new(l);
	struct status *s, stuck;
	int rc = CMD_OK;
	size_t i, c;

	take_all(x, timeout_ms);
	if (json)
		printf("[");
	for (i = 0; i < l->n; i++) {
		s = &x->look[i].s;
		if (x->look[i].late)
			give_up(s = &stuck, l->t[i].db, timeout_ms);
		fill(&row[i], &l->t[i], s);
		if (!well(s, running))
			rc = CMD_FAILED;
		if (json) {
			printf("%s\n", i == 0 ? "" : ",");
			print_object(l->t[i].db, &row[i], s);
		}
		status_free(s);
	}
	if (json)
		puts(l->n == 0 ? "]" : "\n]");
	else
		print_table(row, l->n);
	for (i = 0; i < l->n; i++)
		for (c = 0; c < COLUMNS; c++)
			free(row[i].cell[c]);
	free(row);
	looks_free(x, l);
	return cmd_check_stdout(rc);
}

int
cmd_status(int argc, char **argv)
{
	bool json = false, running = false, no_expand = false;
	const char *config = "";
	int64_t timeout_ms = TIMEOUT_MS;
	const struct opt opts[] = {
		{ "config", OPT_STRING, &config },
		{ "json", OPT_BOOL, &json },
		{ "no-expand-env", OPT_BOOL, &no_expand },
		{ "running", OPT_BOOL, &running },
		{ "timeout", OPT_DURATION, &timeout_ms },
		{ NULL, OPT_BOOL, NULL }
	};
	struct targets l;
	struct err e;
	int at = opt_parse(opts, argc, argv, &e);

	if (at == OPT_HELP) {
		fputs(help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	if (at != OPT_BAD && timeout_ms <= 0)
		return cmd_usage(NULL, "timeout must be greater than 0");
	if (at == OPT_BAD || target_load(&l, argc - at, argv + at, config,
	    !no_expand, &e) != 0) {
		if (e.hint[0] == '\0')
			err_hint(&e, "litestream status -h");
		return cmd_fail(&e);
	}
	return show(&l, json, running, timeout_ms);
}
