/* SPDX-License-Identifier: ISC */
/* What the commands of litestream-test share: SQLite, texts, randomness. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "test_cmds.h"

#define BUSY_TIMEOUT_MS 5000

bool
test_flags(const struct opt *opts, const char *usage, int argc, char **argv,
    int *status, struct err *e)
{
	int first = opt_parse(opts, argc, argv, e);

	if (first == OPT_HELP) {
		fputs(usage, stdout);
		*status = TEST_OK;
		return false;
	}
	if (first == OPT_BAD) {
		*status = TEST_BAD_FLAG;
		return false;
	}
	if (first < argc) {
		err_set(e, ERR_USAGE, "unexpected argument: %s", argv[first]);
		*status = TEST_FAILED;
		return false;
	}
	return true;
}

int
sql_err(sqlite3 *db, const char *what, struct err *e)
{
	const char *path = sqlite3_db_filename(db, "main");

	return err_set(e, ERR_SYSTEM, "%s: %s: %s", path != NULL ? path : "",
	    what, sqlite3_errmsg(db));
}

char *
sql_text(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	if (s == NULL) {
		fputs("out of memory\n", stderr);
		exit(TEST_FAILED);
	}
	return s;
}

int
sql_open(const char *path, bool create, sqlite3 **db, struct err *e)
{
	int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);

	if (sqlite3_open_v2(path, db, flags, NULL) != SQLITE_OK) {
		err_set(e, ERR_SYSTEM, "%s: open: %s", path,
		    sqlite3_errmsg(*db));
		sqlite3_close(*db);
		*db = NULL;
		return -1;
	}
	sqlite3_busy_timeout(*db, BUSY_TIMEOUT_MS);
	return 0;
}

int
sql_exec(sqlite3 *db, const char *what, const char *sql, struct err *e)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return sql_err(db, what, e);
	return 0;
}

int
sql_prepare(sqlite3 *db, const char *what, const char *sql,
    sqlite3_stmt **stmt, struct err *e)
{
	if (sqlite3_prepare_v2(db, sql, -1, stmt, NULL) != SQLITE_OK)
		return sql_err(db, what, e);
	return 0;
}

int
sql_i64(sqlite3 *db, const char *what, const char *sql, int64_t *v,
    struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int rc = -1;

	if (sql_prepare(db, what, sql, &stmt, e) != 0)
		return -1;
	if (sqlite3_step(stmt) == SQLITE_ROW) {
		*v = sqlite3_column_int64(stmt, 0);
		rc = 0;
	} else
		sql_err(db, what, e);
	sqlite3_finalize(stmt);
	return rc;
}

int
sql_exists(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return err_set(e, ERR_ABSENT, "database does not exist: %s: %s",
		    path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_ABSENT, "database is not a file: %s",
		    path);
	return 0;
}

int64_t
sql_size(const char *path)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	struct stat st;
	int64_t sum = 0;
	char *name;
	size_t i;

	for (i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
		name = xasprintf("%s%s", path, suffixes[i]);
		if (stat(name, &st) == 0)
			sum += st.st_size;
		free(name);
	}
	return sum;
}

char *
text_duration(char buf[TEXT_SIZE], int64_t ms)
{
	int64_t h = ms / 3600000, m = ms / 60000 % 60, s = ms / 1000 % 60;
	int n = 0, rest = (int)(ms % 1000);

	if (ms > 0 && ms < 1000) {
		snprintf(buf, TEXT_SIZE, "%dms", rest);
		return buf;
	}
	if (h > 0)
		n = snprintf(buf, TEXT_SIZE, "%" PRId64 "h", h);
	if (h > 0 || m > 0)
		n += snprintf(buf + n, TEXT_SIZE - (size_t)n, "%" PRId64 "m",
		    m);
	n += snprintf(buf + n, TEXT_SIZE - (size_t)n, "%" PRId64, s);
	if (rest != 0) {
		n += snprintf(buf + n, TEXT_SIZE - (size_t)n, ".%03d", rest);
		while (buf[n - 1] == '0')
			n--;
	}
	snprintf(buf + n, TEXT_SIZE - (size_t)n, "s");
	return buf;
}

char *
text_float(char buf[TEXT_SIZE], int decimals, double v)
{
	snprintf(buf, TEXT_SIZE, "%.*f", decimals, v);
	return buf;
}

void
rng_seed(struct rng *r)
{
	random_bytes(&r->state, sizeof r->state);
}

uint64_t
rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

double
rng_unit(struct rng *r)
{
	return (double)(rng_next(r) >> 11) / (double)(UINT64_C(1) << 53);
}

void
rng_fill(struct rng *r, void *p, size_t n)
{
	unsigned char *to = p;
	uint64_t word;
	size_t take;

	for (; n > 0; n -= take, to += take) {
		take = n < sizeof word ? n : sizeof word;
		word = rng_next(r);
		memcpy(to, &word, take);
	}
}
