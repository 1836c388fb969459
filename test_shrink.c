/* SPDX-License-Identifier: ISC */
/* litestream-test shrink: delete random rows, then checkpoint and VACUUM. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "test_cmds.h"

static const char usage[] =
"Delete random rows from every table but load_test.\n"
"\n"
"Usage:\n"
"\n"
"	litestream-test shrink [options]\n"
"\n"
"Options:\n"
"\n"
"	-db PATH                database (required)\n"
"	-delete-percentage P    rows to delete, 0 to 100 (default 50)\n"
"	-checkpoint             run a checkpoint after that\n"
"	-checkpoint-mode MODE   PASSIVE, FULL, RESTART or TRUNCATE\n"
"	                        (default PASSIVE)\n"
"	-vacuum                 run VACUUM after that\n";

struct shrink {
	const char *path, *mode;
	double percentage;
	bool vacuum, checkpoint;
	sqlite3 *db;
	int64_t deleted;
};

/* Index of the mode in SQLite's own order, PASSIVE = 0; -1 if unknown. */
static int
mode_of(const char *name)
{
	static const char *const names[] = { "PASSIVE", "FULL", "RESTART",
	    "TRUNCATE" };
	static const int modes[] = { SQLITE_CHECKPOINT_PASSIVE,
	    SQLITE_CHECKPOINT_FULL, SQLITE_CHECKPOINT_RESTART,
	    SQLITE_CHECKPOINT_TRUNCATE };
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcasecmp(name, names[i]) == 0)
			return modes[i];
	return -1;
}

/*
 * The key that names one row: rowid, or the primary key of a table WITHOUT
 * ROWID; to be freed with sqlite3_free().  NULL if there is none.
 */
static char *
row_key(struct shrink *s, const char *table, bool without_rowid,
    struct err *e)
{
	char *sql, *key = NULL;
	sqlite3_stmt *stmt = NULL;

	if (!without_rowid)
		return sql_text("_rowid_");
	sql = sql_text("SELECT group_concat('\"' || replace(name, '\"', "
	    "'\"\"') || '\"') FROM pragma_table_info(%Q) WHERE pk > 0",
	    table);
	if (sql_prepare(s->db, "get table info", sql, &stmt, e) == 0) {
		if (sqlite3_step(stmt) == SQLITE_ROW &&
		    sqlite3_column_type(stmt, 0) == SQLITE_TEXT)
			key = sql_text("%s", sqlite3_column_text(stmt, 0));
		else
			sql_err(s->db, "get table info", e);
	}
	sqlite3_free(sql);
	sqlite3_finalize(stmt);
	return key;
}

static int
delete_rows(struct shrink *s, const char *table, bool without_rowid,
    int64_t *deleted, struct err *e)
{
	char *sql, *key;
	int64_t count;
	int rc;

	sql = sql_text("SELECT count(*) FROM \"%w\"", table);
	rc = sql_i64(s->db, "count rows", sql, &count, e);
	sqlite3_free(sql);
	if (rc != 0)
		return -1;
	count = (int64_t)((double)count * s->percentage / 100);
	if ((key = row_key(s, table, without_rowid, e)) == NULL)
		return -1;
	sql = sql_text("DELETE FROM \"%w\" WHERE (%s) IN (SELECT %s "
	    "FROM \"%w\" ORDER BY random() LIMIT %lld)", table, key, key,
	    table, (long long)count);
	rc = sql_exec(s->db, "delete rows", sql, e);
	*deleted = rc == 0 ? sqlite3_changes(s->db) : 0;
	sqlite3_free(sql);
	sqlite3_free(key);
	return rc;
}

struct table {
	char *name;
	bool without_rowid;
};

/*
 * Tables of the user: no virtual ones, nor what is behind these, where a
 * missing row is damage.  load_test is left to the load command.
 */
static int
list_tables(struct shrink *s, struct table **tables, size_t *n,
    struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	size_t cap = 0;
	int rc;

	if (sql_prepare(s->db, "get table list", "SELECT name, wr FROM "
	    "pragma_table_list WHERE schema = 'main' AND type = 'table' AND "
	    "name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> 'load_test' "
	    "ORDER BY name", &stmt, e) != 0)
		return -1;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		*tables = xgrow(*tables, *n, &cap, sizeof **tables);
		(*tables)[*n].name =
		    xstrdup((const char *)sqlite3_column_text(stmt, 0));
		(*tables)[(*n)++].without_rowid = sqlite3_column_int(stmt, 1);
	}
	if (rc != SQLITE_DONE)
		sql_err(s->db, "get table list", e);
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE ? 0 : -1;
}

/* A table that fails is logged; the others still have their turn. */
static int
delete_all(struct shrink *s, struct err *e)
{
	struct table *tables = NULL;
	size_t i, n = 0;
	int64_t deleted;
	int rc = list_tables(s, &tables, &n, e);

	if (rc == 0)
		log_line(LOG_INFO, "Found tables", "count", I64(n), NULL);
	for (i = 0; i < n; i++) {
		if (rc != 0)
			;
		else if (delete_rows(s, tables[i].name,
		    tables[i].without_rowid, &deleted, e) != 0)
			log_line(LOG_ERROR, "Failed to delete from table",
			    "table", tables[i].name, "error", e->text, NULL);
		else {
			s->deleted += deleted;
			log_line(LOG_INFO, "Deleted rows from table",
			    "table", tables[i].name,
			    "rows_deleted", I64(deleted), NULL);
		}
		free(tables[i].name);
	}
	free(tables);
	return rc;
}

/* Busy is no failure: the log says how far it came. */
static int
checkpoint(struct shrink *s, struct err *e)
{
	int64_t start_ms = time_mono_ms();
	int rc, frames = -1, copied = -1;

	log_line(LOG_INFO, "Running checkpoint", "mode", s->mode, NULL);
	rc = sqlite3_wal_checkpoint_v2(s->db, "main", mode_of(s->mode),
	    &frames, &copied);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY)
		return sql_err(s->db, "checkpoint failed", e);
	log_line(LOG_INFO, "Checkpoint complete", "mode", s->mode,
	    "busy", rc == SQLITE_BUSY ? "1" : "0",
	    "pages_written", I64(copied), "total_pages", I64(frames),
	    "duration", DURATION(time_mono_ms() - start_ms), NULL);
	return 0;
}

static int
vacuum(struct shrink *s, struct err *e)
{
	int64_t start_ms = time_mono_ms();

	log_line(LOG_INFO, "Running VACUUM (this may take a while)", NULL);
	if (sql_exec(s->db, "vacuum failed", "VACUUM", e) != 0)
		return -1;
	log_line(LOG_INFO, "VACUUM complete", "duration",
	    DURATION(time_mono_ms() - start_ms), NULL);
	return 0;
}

static int
shrink(struct shrink *s, struct err *e)
{
	int64_t initial = sql_size(s->path), size, after;

	log_line(LOG_INFO, "Initial database size", "size_mb",
	    I64(initial / MIB), NULL);
	if (sql_exec(s->db, "set journal mode", "PRAGMA journal_mode = WAL",
	    e) != 0 || delete_all(s, e) != 0)
		return -1;
	log_line(LOG_INFO, "Deletion complete", "total_rows_deleted",
	    I64(s->deleted), NULL);
	size = sql_size(s->path);
	log_line(LOG_INFO, "Size after deletion", "size_mb", I64(size / MIB),
	    "change_mb", I64((initial - size) / MIB), NULL);
	if (s->checkpoint) {
		if (checkpoint(s, e) != 0)
			return -1;
		after = sql_size(s->path);
		log_line(LOG_INFO, "Size after checkpoint", "size_mb",
		    I64(after / MIB), "change_from_delete_mb",
		    I64((size - after) / MIB), NULL);
	}
	if (s->vacuum) {
		if (vacuum(s, e) != 0)
			return -1;
		after = sql_size(s->path);
		log_line(LOG_INFO, "Size after VACUUM", "size_mb",
		    I64(after / MIB), "total_reduction_mb",
		    I64((initial - after) / MIB), NULL);
	}
	size = sql_size(s->path);
	log_line(LOG_INFO, "Shrink operation complete",
	    "initial_size_mb", I64(initial / MIB),
	    "final_size_mb", I64(size / MIB), "reduction_percent",
	    FLOAT(1, initial == 0 ? 0 :
	    (double)(initial - size) * 100 / (double)initial), NULL);
	return 0;
}

int
test_shrink(const char *self, int argc, char **argv, struct err *e)
{
	struct shrink s = { .path = "", .mode = "PASSIVE", .percentage = 50 };
	const struct opt opts[] = {
		{ "db", OPT_STRING, &s.path },
		{ "delete-percentage", OPT_FLOAT, &s.percentage },
		{ "vacuum", OPT_BOOL, &s.vacuum },
		{ "checkpoint", OPT_BOOL, &s.checkpoint },
		{ "checkpoint-mode", OPT_STRING, &s.mode },
		{ NULL, OPT_BOOL, NULL },
	};
	int status, rc;

	(void)self;
	if (!test_flags(opts, usage, argc, argv, &status, e))
		return status;
	rc = 0;
	if (s.path[0] == '\0')
		rc = err_set(e, ERR_USAGE, "database path required");
	else if (!(s.percentage >= 0 && s.percentage <= 100))
		rc = err_set(e, ERR_USAGE,
		    "delete percentage must be between 0 and 100");
	else if (mode_of(s.mode) < 0)
		rc = err_set(e, ERR_USAGE, "invalid checkpoint mode: %s",
		    s.mode);
	if (rc != 0 || sql_exists(s.path, e) != 0)
		return TEST_FAILED;
	log_line(LOG_INFO, "Starting database shrink operation",
	    "db", s.path, "delete_percentage", FLOAT(1, s.percentage),
	    "vacuum", FLAG(s.vacuum), "checkpoint", FLAG(s.checkpoint), NULL);
	if (sql_open(s.path, false, &s.db, e) != 0)
		return TEST_FAILED;
	rc = shrink(&s, e);
	sqlite3_close(s.db);
	return rc == 0 ? TEST_OK : TEST_FAILED;
}
