/* SPDX-License-Identifier: ISC */
/*
 * litestream-test validate: restore a replica with the litestream command,
 * and compare the result with its source.  A check that fails is logged and
 * the next one has its turn; the exit status is 1 then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test_cmds.h"

#define BLOCK_SIZE 8192

static const char usage[] =
"Restore a replica and compare it with its source.\n"
"\n"
"Usage:\n"
"\n"
"	litestream-test validate [options]\n"
"\n"
"Options:\n"
"\n"
"	-source-db PATH     database that is replicated (required)\n"
"	-replica-url URL    its replica\n"
"	-config PATH        configuration that names it, instead of an URL\n"
"	-restored-db PATH   where to restore; replaced if it exists\n"
"	                    (default SOURCE.restored, removed on success)\n"
"	-check-type TYPE    quick, integrity, checksum or full\n"
"	                    (default quick)\n"
"	-ltx-continuity     check that no level has a hole, no TXID is\n"
"	                    missing\n";

struct validate {
	struct run run;
	const char *restored, *type;
	bool continuity;
	int failures;
};

/* Rows of a PRAGMA that says "ok", or what is wrong; the first is kept. */
static int
pragma_check(const char *path, const char *sql, int64_t *issues,
    struct err *e)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	int rc = -1, step = SQLITE_ERROR;
	const char *text;

	*issues = 0;
	if (sql_open(path, false, &db, e) != 0)
		return -1;
	if (sql_prepare(db, sql, sql, &stmt, e) != 0)
		goto out;
	while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
		text = (const char *)sqlite3_column_text(stmt, 0);
		if (text != NULL && strcmp(text, "ok") == 0)
			continue;
		if ((*issues)++ == 0)
			err_set(e, ERR_DAMAGED, "%s: %s: %s", path, sql,
			    text != NULL ? text : "");
	}
	if (step != SQLITE_DONE)
		sql_err(db, sql, e);
	else if (*issues == 0)
		rc = 0;
out:
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return rc;
}

static int
compare_streams(struct validate *v, FILE *a, FILE *b, struct err *e)
{
	unsigned char left[BLOCK_SIZE], right[BLOCK_SIZE];
	long long at = 0;
	size_t n, m, i;

	do {
		n = fread(left, 1, sizeof left, a);
		m = fread(right, 1, sizeof right, b);
		for (i = 0; i < n && i < m && left[i] == right[i]; i++)
			;
		if (i < n || i < m)
			return err_set(e, ERR_DAMAGED, "checksums do not "
			    "match: %s and %s differ at byte %lld",
			    v->run.source, v->restored, at + (long long)i);
		at += (long long)n;
	} while (n > 0);
	if (ferror(a))
		return err_sys(e, v->run.source, "read");
	return ferror(b) ? err_sys(e, v->restored, "read") : 0;
}

/*
 * The main files, byte for byte.  Opening the source like this is harmless
 * only because no connection of this process to it is open: closing the file
 * would drop the locks of one.
 */
static int
compare_bytes(struct validate *v, struct err *e)
{
	char *wal = xasprintf("%s-wal", v->run.source);
	FILE *a = fopen(v->run.source, "rb"), *b = NULL;
	struct stat st;
	size_t len;
	int rc = -1;

	if (a == NULL)
		err_sys(e, v->run.source, "open");
	else if ((b = fopen(v->restored, "rb")) == NULL)
		err_sys(e, v->restored, "open");
	else if ((rc = compare_streams(v, a, b, e)) != 0 &&
	    stat(wal, &st) == 0 && st.st_size > 0) {
		len = strlen(e->text);
		snprintf(e->text + len, sizeof e->text - len,
		    " (the source has a WAL that may not be checkpointed)");
	}
	if (a != NULL)
		fclose(a);
	if (b != NULL)
		fclose(b);
	free(wal);
	return rc;
}

static int
count_rows(sqlite3 *db, const char *table, int64_t *n, struct err *e)
{
	char *sql = sql_text("SELECT count(*) FROM \"%w\"", table);
	int rc = sql_i64(db, "count rows", sql, n, e);

	sqlite3_free(sql);
	return rc;
}

/* Every table of a has as many rows in b; *tables is their number. */
static int
compare_tables(sqlite3 *a, sqlite3 *b, int64_t *tables, struct err *e)
{
	static const char sql[] = "SELECT name FROM sqlite_master WHERE "
	    "type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
	sqlite3_stmt *stmt = NULL;
	const char *name;
	int64_t n = 0, m = 0;
	int step, rc = 0;

	*tables = 0;
	if (sql_prepare(a, "get table list", sql, &stmt, e) != 0)
		return -1;
	while (rc == 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
		if (step != SQLITE_ROW) {
			rc = sql_err(a, "get table list", e);
			break;
		}
		(*tables)++;
		name = (const char *)sqlite3_column_text(stmt, 0);
		if (count_rows(a, name, &n, e) != 0 ||
		    count_rows(b, name, &m, e) != 0)
			rc = -1;
		else if (n != m)
			rc = err_set(e, ERR_DAMAGED, "row count mismatch "
			    "between source and restored databases: table "
			    "%s: %lld and %lld", name, (long long)n,
			    (long long)m);
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int
compare_data(struct validate *v, int64_t *tables, struct err *e)
{
	sqlite3 *a = NULL, *b = NULL;
	int rc = -1;

	*tables = 0;
	if (sql_open(v->run.source, false, &a, e) == 0 &&
	    sql_open(v->restored, false, &b, e) == 0 &&
	    compare_tables(a, b, tables, e) == 0)
		rc = compare_tables(b, a, tables, e);
	sqlite3_close(a);
	sqlite3_close(b);
	return rc;
}

/* Count and log the result of one check; msg with key=value if it ran. */
static void
result(struct validate *v, const char *type, const char *msg, int rc,
    int64_t start_ms, const char *key, const char *value, struct err *e)
{
	log_line(LOG_INFO, msg, "passed", FLAG(rc == 0), "duration",
	    DURATION(time_mono_ms() - start_ms), key, value, NULL);
	if (rc != 0) {
		v->failures++;
		log_line(LOG_ERROR, "Validation failed", "check_type", type,
		    "error", e->text, NULL);
	}
}

/* Whether a type of check includes this one. */
static bool
wanted(struct validate *v, const char *type)
{
	return strcmp(v->type, type) == 0 || strcmp(v->type, "full") == 0;
}

static void
check_restored(struct validate *v, struct err *e)
{
	int64_t start_ms = time_mono_ms(), n;
	int rc;

	if (wanted(v, "quick")) {
		rc = pragma_check(v->restored, "PRAGMA quick_check", &n, e);
		result(v, "quick_check", "Quick check completed", rc,
		    start_ms, NULL, NULL, e);
	}
	start_ms = time_mono_ms();
	if (wanted(v, "integrity")) {
		rc = pragma_check(v->restored, "PRAGMA integrity_check", &n,
		    e);
		result(v, "integrity_check", "Integrity check completed", rc,
		    start_ms, "issues", I64(n), e);
	}
	start_ms = time_mono_ms();
	if (wanted(v, "checksum")) {
		rc = compare_bytes(v, e);
		result(v, "checksum", "Checksum check completed", rc,
		    start_ms, "match", FLAG(rc == 0), e);
	}
	start_ms = time_mono_ms();
	if (strcmp(v->type, "full") == 0) {
		rc = compare_data(v, &n, e);
		result(v, "data_validation", "Data validation completed", rc,
		    start_ms, "tables_checked", I64(n), e);
	}
}

static void
check_all(struct validate *v, struct err *e)
{
	int64_t start_ms = time_mono_ms();

	if (v->continuity)
		result(v, "ltx_continuity", "LTX continuity check completed",
		    run_continuity(&v->run, e), start_ms, NULL, NULL, e);
	start_ms = time_mono_ms();
	if (run_restore(&v->run, v->restored, e) != 0) {
		v->failures++;
		log_line(LOG_ERROR, "Validation failed", "check_type",
		    "restore", "error", e->text, NULL);
		return;
	}
	log_line(LOG_INFO, "Restore completed", "duration",
	    DURATION(time_mono_ms() - start_ms), "restored_db", v->restored,
	    NULL);
	check_restored(v, e);
}

static int
check_flags(struct validate *v, struct err *e)
{
	static const char *const types[] = { "quick", "integrity",
	    "checksum", "full" };
	size_t i;

	if (v->run.source[0] == '\0')
		return err_set(e, ERR_USAGE, "source database path required");
	if (v->run.url[0] == '\0' && v->run.config[0] == '\0')
		return err_set(e, ERR_USAGE,
		    "replica URL or config file required");
	for (i = 0; i < sizeof types / sizeof types[0]; i++)
		if (strcmp(v->type, types[i]) == 0)
			return 0;
	return err_set(e, ERR_USAGE, "invalid check type: %s", v->type);
}

/* A database restored before is replaced; never the source, by any name. */
static int
check_target(const struct validate *v, struct err *e)
{
	struct stat st, source;

	if (lstat(v->restored, &st) != 0)
		return 0;
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_USAGE, "not a file: %s", v->restored);
	if (stat(v->run.source, &source) == 0 &&
	    st.st_dev == source.st_dev && st.st_ino == source.st_ino)
		return err_set(e, ERR_USAGE, "this is the source: %s",
		    v->restored);
	return 0;
}

static int
validate(struct validate *v, bool keep, struct err *e)
{
	if (check_target(v, e) != 0)
		return -1;
	log_line(LOG_INFO, "Starting validation", "source_db", v->run.source,
	    "replica_url", v->run.url, "check_type", v->type,
	    "ltx_continuity", FLAG(v->continuity), NULL);
	check_all(v, e);
	if (v->failures > 0)
		return err_set(e, ERR_DAMAGED, "validation failed");
	if (!keep && unlink(v->restored) != 0)
		return err_sys(e, v->restored, "remove");
	log_line(LOG_INFO, "All validation checks passed", NULL);
	return 0;
}

int
test_validate(const char *self, int argc, char **argv, struct err *e)
{
	struct validate v = { .run = { .source = "", .url = "",
	    .config = "" }, .restored = "", .type = "quick" };
	const struct opt opts[] = {
		{ "source-db", OPT_STRING, &v.run.source },
		{ "replica-url", OPT_STRING, &v.run.url },
		{ "restored-db", OPT_STRING, &v.restored },
		{ "check-type", OPT_STRING, &v.type },
		{ "ltx-continuity", OPT_BOOL, &v.continuity },
		{ "config", OPT_STRING, &v.run.config },
		{ NULL, OPT_BOOL, NULL },
	};
	char *name = NULL;
	int status, rc;

	if (!test_flags(opts, usage, argc, argv, &status, e))
		return status;
	if (check_flags(&v, e) != 0)
		return TEST_FAILED;
	if (v.restored[0] == '\0')
		v.restored = name = xasprintf("%s.restored", v.run.source);
	v.run.tool = run_find(self);
	rc = validate(&v, name == NULL, e);
	free(v.run.tool);
	free(name);
	return rc == 0 ? TEST_OK : TEST_FAILED;
}
