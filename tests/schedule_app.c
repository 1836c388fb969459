/* SPDX-License-Identifier: ISC */
/*
 * The application of the schedule explorer: one connection that writes and
 * checkpoints, one that reads.  Nothing waits: what is locked is SQLITE_BUSY.
 *
 * To die in a commit it has the methods of the WAL's sqlite3_file: at the sync
 * of the frames, which precedes the wal-index ("ghost"), or with the second
 * page half written ("torn").
 */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schedule.h"

enum { LIVE, GHOST, TORN };

struct app {
	char path[256];
	sqlite3 *writer, *reader;
};

static const sqlite3_io_methods *real;
static sqlite3_io_methods deadly;
static int death, pages_written;

static int
wal_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	if (death != LIVE && n == SCHEDULE_PAGE && ++pages_written == 2 &&
	    death == TORN) {
		real->xWrite(f, p, n / 2, at);
		kill(getpid(), SIGKILL);
	}
	return real->xWrite(f, p, n, at);
}

static int
wal_sync(sqlite3_file *f, int flags)
{
	if (death == GHOST && pages_written > 0)
		kill(getpid(), SIGKILL);
	return real->xSync(f, flags);
}

static void
arm(struct app *a, int how)
{
	sqlite3_file *f = NULL;

	sqlite3_file_control(a->writer, "main", SQLITE_FCNTL_JOURNAL_POINTER,
	    &f);
	if (f == NULL || f->pMethods == NULL)
		return;
	if (f->pMethods != &deadly) {
		real = f->pMethods;
		deadly = *real;
		deadly.xWrite = wal_write;
		deadly.xSync = wal_sync;
		f->pMethods = &deadly;
	}
	pages_written = 0;
	death = how;
}

static int
run(sqlite3 *c, const char *sql)
{
	return sqlite3_exec(c, sql, NULL, NULL, NULL);
}

static int
open_one(struct app *a, sqlite3 **c)
{
	if (*c != NULL)
		return SQLITE_OK;
	if (sqlite3_open(a->path, c) != SQLITE_OK)
		return SQLITE_CANTOPEN;
	return run(*c, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
	    "PRAGMA mmap_size=0; SELECT n FROM c");
}

static void
close_all(struct app *a)
{
	sqlite3_close(a->reader);
	sqlite3_close(a->writer);
	a->reader = a->writer = NULL;
}

/* The template of every schedule. */
static int
create(struct app *a)
{
	int rc = sqlite3_open(a->path, &a->writer);

	if (rc == SQLITE_OK)
		rc = run(a->writer, "PRAGMA page_size=512;"
		    "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
		    "CREATE TABLE c(n); INSERT INTO c VALUES(0);"
		    "CREATE TABLE t(id INTEGER PRIMARY KEY, b);"
		    "INSERT INTO t(b) VALUES(zeroblob(300)), (zeroblob(300)),"
		    "(zeroblob(300)), (zeroblob(300))");
	close_all(a);
	return rc;
}

static void
look(struct app *a, struct app_answer *r)
{
	sqlite3_int64 n;
	unsigned char *p = sqlite3_serialize(a->writer, "main", &n, 0);

	r->has_image = p != NULL;
	if (p == NULL)
		return;
	r->hash = hash_bytes(0, p, (size_t)n);
	r->pages = (uint32_t)(n / SCHEDULE_PAGE);
	sqlite3_free(p);
}

#define COUNT "UPDATE c SET n = n + 1;"
#define TOUCH "UPDATE t SET b = randomblob(300) WHERE id = " \
	"1 + (SELECT n FROM c) % 3;"

static const struct {
	const char *op, *sql;
} writes[] = {
	{ "commit", "BEGIN IMMEDIATE;" COUNT TOUCH "COMMIT" },
	{ "grow", "BEGIN IMMEDIATE;" COUNT "INSERT INTO t(b) VALUES"
	    "(randomblob(700)), (randomblob(700)); COMMIT" },
	{ "shrink", "BEGIN IMMEDIATE;" COUNT "DELETE FROM t WHERE id > 3;"
	    "PRAGMA incremental_vacuum; COMMIT" },
	{ "vacuum", "VACUUM" },
	{ NULL, NULL }
};

static const struct {
	const char *op;
	int mode;
} checkpoints[] = {
	{ "passive", SQLITE_CHECKPOINT_PASSIVE },
	{ "full", SQLITE_CHECKPOINT_FULL },
	{ "restart", SQLITE_CHECKPOINT_RESTART },
	{ "truncate", SQLITE_CHECKPOINT_TRUNCATE },
	{ NULL, 0 }
};

static bool
write_op(struct app *a, const char *op, struct app_answer *r)
{
	size_t i;

	for (i = 0; writes[i].op != NULL; i++)
		if (strcmp(op, writes[i].op) == 0)
			break;
	if (writes[i].op == NULL)
		return false;
	r->rc = run(a->writer, writes[i].sql);
	if (r->rc == SQLITE_OK)
		look(a, r);
	else if (!sqlite3_get_autocommit(a->writer))
		run(a->writer, "ROLLBACK");
	return true;
}

static bool
checkpoint_op(struct app *a, const char *op, struct app_answer *r)
{
	size_t i;

	for (i = 0; checkpoints[i].op != NULL; i++)
		if (strcmp(op, checkpoints[i].op) == 0)
			break;
	if (checkpoints[i].op == NULL)
		return false;
	r->rc = sqlite3_wal_checkpoint_v2(a->writer, "main",
	    checkpoints[i].mode, NULL, NULL);
	return true;
}

static void
act(struct app *a, const char *op, struct app_answer *r)
{
	if (write_op(a, op, r) || checkpoint_op(a, op, r))
		return;
	if (strcmp(op, "create") == 0)
		r->rc = create(a);
	else if (strcmp(op, "open") == 0) {
		r->rc = open_one(a, &a->writer);
		if (r->rc == SQLITE_OK)
			look(a, r);
	} else if (strcmp(op, "close") == 0)
		close_all(a);
	else if (strcmp(op, "read") == 0) {
		r->rc = open_one(a, &a->reader);
		if (r->rc == SQLITE_OK)
			r->rc = run(a->reader, "BEGIN; SELECT n FROM c");
	} else if (strcmp(op, "unread") == 0)
		r->rc = run(a->reader, "ROLLBACK");
	else if (strcmp(op, "ghost") == 0 || strcmp(op, "torn") == 0) {
		arm(a, op[0] == 'g' ? GHOST : TORN);
		write_op(a, "commit", r);
		death = LIVE;	/* it was busy */
	} else if (strcmp(op, "look") == 0)
		look(a, r);
}

void
app_serve(int fd, const char *dir)
{
	struct app_answer r;
	struct app a;
	struct ask q;

	memset(&a, 0, sizeof a);
	snprintf(a.path, sizeof a.path, "%s/a.db", dir);
	while (read_all(fd, &q, sizeof q)) {
		memset(&r, 0, sizeof r);
		act(&a, q.op, &r);
		if (!write_all(fd, &r, sizeof r))
			break;
	}
}
