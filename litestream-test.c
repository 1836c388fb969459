/* SPDX-License-Identifier: ISC */
/*
 * litestream-test makes databases, keeps them busy and compares what a
 * replica gives back.  It links nothing of litestream but util and opt, so
 * that it can judge any replicator, and runs `litestream` as a person would.
 * Layers, a file includes only headers of rows below:
 *	litestream-test.c   main, populate
 *	test_load.c   test_shrink.c   test_validate.c
 *	test_run.c   test_sql.c   (one header for all: test_cmds.h)
 *	opt.c   util.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test_cmds.h"

#define VERSION "0.1.0"

#define MAX_BLOB 1000000000	/* SQLite's own limit of a value */
#define MIN_PAGE_SIZE 512
#define MAX_PAGE_SIZE 65536
#define MAX_TABLES 1000

static const char main_usage[] =
"litestream-test makes test databases and judges replicas of them.\n"
"\n"
"Usage:\n"
"\n"
"	litestream-test <command> [arguments]\n"
"\n"
"Commands:\n"
"\n"
"	populate    Fill a new database up to a size\n"
"	load        Write and read at a steady rate\n"
"	shrink      Delete rows from a database\n"
"	validate    Restore a replica and compare it with its source\n"
"	version     Show the version\n"
"\n"
"\"litestream-test <command> -h\" lists the flags of a command.\n";

static const char version_usage[] =
"Show the version of litestream-test.\n"
"\n"
"Usage:\n"
"\n"
"	litestream-test version\n";

static const char populate_usage[] =
"Fill a new database up to a size; one that is there is removed first.\n"
"\n"
"Usage:\n"
"\n"
"	litestream-test populate [options]\n"
"\n"
"Options:\n"
"\n"
"	-db PATH          database (required)\n"
"	-target-size SIZE size to reach, as 500MB or 1.5GB (default 100MB)\n"
"	-row-size N       bytes of random data per row (default 1024)\n"
"	-batch-size N     rows per transaction (default 1000)\n"
"	-table-count N    number of tables (default 1)\n"
"	-index-ratio R    chance of each index, 0 to 1 (default 0.2)\n"
"	-page-size N      page size in bytes (default 4096)\n";

struct populate {
	const char *path, *target;
	int64_t target_bytes, rows_per_table;
	int row_size, batch_size, table_count, page_size;
	double index_ratio;
	sqlite3 *db;
	struct rng rng;
	unsigned char *data;	/* row_size bytes */
};

/* "1.5GB": decimals allowed, units of 1024; without a unit whole bytes. */
static int
parse_size(const char *s, int64_t *bytes, struct err *e)
{
	static const struct {
		const char *unit;
		double bytes;
	} units[] = {
		{ "TB", 1099511627776.0 }, { "GB", 1073741824.0 },
		{ "MB", 1048576.0 }, { "KB", 1024.0 }, { "B", 1.0 },
		{ "", 1.0 },
	};
	char *end;
	double v;
	size_t i;

	/* strtod() alone would take " 1", "0x1" and "nan". */
	if (strspn(s, "0123456789.") > 0) {
		v = strtod(s, &end);
		for (i = 0; i < sizeof units / sizeof units[0]; i++) {
			if (strcmp(end, units[i].unit) != 0)
				continue;
			v *= units[i].bytes;
			if (!(v >= 1 && v < 9e18) ||
			    (*end == '\0' && strchr(s, '.') != NULL))
				break;
			*bytes = (int64_t)v;
			return 0;
		}
	}
	return err_set(e, ERR_USAGE, "invalid target size: %s", s);
}

static int
check_populate(struct populate *p, struct err *e)
{
	if (p->path[0] == '\0')
		return err_set(e, ERR_USAGE, "database path required");
	if (parse_size(p->target, &p->target_bytes, e) != 0)
		return -1;
	if (p->row_size < 1 || p->row_size > MAX_BLOB)
		return err_set(e, ERR_USAGE, "invalid row size: %d",
		    p->row_size);
	if (p->batch_size < 1)
		return err_set(e, ERR_USAGE, "invalid batch size: %d",
		    p->batch_size);
	if (p->table_count < 1 || p->table_count > MAX_TABLES)
		return err_set(e, ERR_USAGE, "table count must be between 1 "
		    "and %d", MAX_TABLES);
	if (!(p->index_ratio >= 0 && p->index_ratio <= 1))
		return err_set(e, ERR_USAGE,
		    "index ratio must be between 0 and 1");
	if (p->page_size < MIN_PAGE_SIZE || p->page_size > MAX_PAGE_SIZE ||
	    (p->page_size & (p->page_size - 1)) != 0)
		return err_set(e, ERR_USAGE, "page size must be a power of two "
		    "between %d and %d", MIN_PAGE_SIZE, MAX_PAGE_SIZE);
	return 0;
}

/* The sidecars go too, and first: they belong to what is in the old file. */
static int
remove_database(const char *path, struct err *e)
{
	static const char *const suffixes[] = { "-journal", "-wal", "-shm",
	    "" };
	char *name;
	size_t i;
	int rc = 0;

	for (i = 0; i < sizeof suffixes / sizeof suffixes[0] && rc == 0; i++) {
		name = xasprintf("%s%s", path, suffixes[i]);
		if (unlink(name) != 0 && errno != ENOENT)
			rc = err_sys(e, name, "remove");
		free(name);
	}
	return rc;
}

static int
create_index(struct populate *p, int table, const char *name,
    const char *column, struct err *e)
{
	char *sql;
	int rc;

	if (rng_unit(&p->rng) >= p->index_ratio)
		return 0;
	sql = sql_text("CREATE INDEX idx_test_table_%d_%s "
	    "ON test_table_%d(%s)", table, name, table, column);
	rc = sql_exec(p->db, "create index", sql, e);
	sqlite3_free(sql);
	return rc;
}

static int
create_tables(struct populate *p, struct err *e)
{
	char *sql = sql_text("PRAGMA page_size = %d; PRAGMA journal_mode = WAL;"
	    "PRAGMA synchronous = NORMAL", p->page_size);
	int i, rc = sql_exec(p->db, "set journal mode", sql, e);

	sqlite3_free(sql);
	for (i = 0; i < p->table_count && rc == 0; i++) {
		sql = sql_text("CREATE TABLE test_table_%d ("
		    "id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB, "
		    "text_field TEXT, int_field INTEGER, float_field REAL, "
		    "timestamp INTEGER)", i);
		rc = sql_exec(p->db, "create table", sql, e);
		sqlite3_free(sql);
		if (rc == 0)
			rc = create_index(p, i, "timestamp", "timestamp", e);
		if (rc == 0)
			rc = create_index(p, i, "int", "int_field", e);
	}
	return rc;
}

static int
insert_row(struct populate *p, sqlite3_stmt *stmt, int64_t start, int64_t row,
    struct err *e)
{
	char text[2 * TEXT_SIZE];

	snprintf(text, sizeof text, "row_%lld_%lld", (long long)start,
	    (long long)row);
	rng_fill(&p->rng, p->data, (size_t)p->row_size);
	sqlite3_bind_blob(stmt, 1, p->data, p->row_size, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 2, text, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 3, (int64_t)(rng_next(&p->rng) >> 1));
	sqlite3_bind_double(stmt, 4, rng_unit(&p->rng) * 1000);
	sqlite3_bind_int64(stmt, 5, time_wall_ms() / 1000);
	sqlite3_step(stmt);
	if (sqlite3_reset(stmt) != SQLITE_OK)
		return sql_err(p->db, "insert row", e);
	return 0;
}

static int
fill_table(struct populate *p, int table, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	char *sql = sql_text("INSERT INTO test_table_%d (data, text_field, "
	    "int_field, float_field, timestamp) VALUES (?, ?, ?, ?, ?)",
	    table);
	int64_t start, row, end;
	int rc = sql_prepare(p->db, "insert row", sql, &stmt, e);

	sqlite3_free(sql);
	for (start = 0; start < p->rows_per_table && rc == 0; start = end) {
		end = start + p->batch_size;
		if (end > p->rows_per_table)
			end = p->rows_per_table;
		rc = sql_exec(p->db, "begin transaction", "BEGIN", e);
		for (row = start; row < end && rc == 0; row++)
			rc = insert_row(p, stmt, start, row, e);
		if (rc == 0)
			rc = sql_exec(p->db, "commit transaction", "COMMIT",
			    e);
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int
fill(struct populate *p, struct err *e)
{
	char name[TEXT_SIZE];
	int64_t size = 0, start_ms = time_mono_ms(), ms;
	int i, rc = 0;

	for (i = 0; i < p->table_count && size < p->target_bytes; i++) {
		if ((rc = fill_table(p, i, e)) != 0)
			return rc;
		size = sql_size(p->path);
		snprintf(name, sizeof name, "test_table_%d", i);
		log_line(LOG_INFO, "Progress", "table", name,
		    "current_size_mb", I64(size / MIB), "progress_percent",
		    FLOAT(1, (double)size * 100 / (double)p->target_bytes),
		    NULL);
	}
	ms = time_mono_ms() - start_ms;
	log_line(LOG_INFO, "Population complete", "duration", DURATION(ms),
	    "final_size_mb", I64(size / MIB), "throughput_mb_per_sec",
	    FLOAT(2, (double)size / MIB * 1000 / (double)(ms > 0 ? ms : 1)),
	    NULL);
	return 0;
}

static int
populate(struct populate *p, struct err *e)
{
	int64_t rows = p->target_bytes / p->row_size;
	int rc = -1;

	p->rows_per_table = rows / p->table_count;
	if (p->rows_per_table < 1)
		p->rows_per_table = 1;
	rng_seed(&p->rng);
	p->data = xmalloc((size_t)p->row_size);
	if (remove_database(p->path, e) != 0 ||
	    sql_open(p->path, true, &p->db, e) != 0 ||
	    create_tables(p, e) != 0)
		goto out;
	log_line(LOG_INFO, "Populating database",
	    "target_bytes", I64(p->target_bytes), "total_rows", I64(rows),
	    "rows_per_table", I64(p->rows_per_table), NULL);
	rc = fill(p, e);
out:
	sqlite3_close(p->db);
	free(p->data);
	return rc;
}

static int
run_populate(const char *self, int argc, char **argv, struct err *e)
{
	struct populate p = { .path = "", .target = "100MB", .row_size = 1024,
	    .batch_size = 1000, .table_count = 1, .page_size = 4096,
	    .index_ratio = 0.2 };
	const struct opt opts[] = {
		{ "db", OPT_STRING, &p.path },
		{ "target-size", OPT_STRING, &p.target },
		{ "row-size", OPT_INT, &p.row_size },
		{ "batch-size", OPT_INT, &p.batch_size },
		{ "table-count", OPT_INT, &p.table_count },
		{ "index-ratio", OPT_FLOAT, &p.index_ratio },
		{ "page-size", OPT_INT, &p.page_size },
		{ NULL, OPT_BOOL, NULL },
	};
	int status;

	(void)self;
	if (!test_flags(opts, populate_usage, argc, argv, &status, e))
		return status;
	if (check_populate(&p, e) != 0)
		return TEST_FAILED;
	log_line(LOG_INFO, "Starting database population", "db", p.path,
	    "target_size", p.target, "row_size", I64(p.row_size),
	    "batch_size", I64(p.batch_size),
	    "table_count", I64(p.table_count),
	    "page_size", I64(p.page_size), NULL);
	if (populate(&p, e) != 0)
		return TEST_FAILED;
	log_line(LOG_INFO, "Database population complete", "db", p.path,
	    NULL);
	return TEST_OK;
}

static int
run_version(const char *self, int argc, char **argv, struct err *e)
{
	const struct opt none[] = { { NULL, OPT_BOOL, NULL } };
	int status;

	(void)self;
	if (!test_flags(none, version_usage, argc, argv, &status, e))
		return status;
	printf("litestream-test %s\nsqlite: %s\n", VERSION,
	    sqlite3_libversion());
	return TEST_OK;
}

static int
dispatch(int argc, char **argv, struct err *e)
{
	static const struct {
		const char *name;
		int (*run)(const char *, int, char **, struct err *);
	} commands[] = {
		{ "populate", run_populate }, { "load", test_load },
		{ "shrink", test_shrink }, { "validate", test_validate },
		{ "version", run_version },
	};
	const struct opt none[] = { { NULL, OPT_BOOL, NULL } };
	int first = opt_parse(none, argc, argv, e);
	size_t i;

	if (first == OPT_BAD)
		return TEST_BAD_FLAG;
	if (first == OPT_HELP || first >= argc ||
	    strcmp(argv[first], "help") == 0) {
		fputs(main_usage, stdout);
		return TEST_OK;
	}
	for (i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(argv[first], commands[i].name) == 0)
			return commands[i].run(argv[0], argc - first,
			    argv + first, e);
	err_set(e, ERR_USAGE, "unknown command: %s", argv[first]);
	return TEST_FAILED;
}

int
main(int argc, char **argv)
{
	struct err e = { .kind = ERR_NONE };
	int status;

	log_to_stderr();
	status = dispatch(argc, argv, &e);
	if (status == TEST_OK && (fflush(stdout) != 0 || ferror(stdout))) {
		err_sys(&e, "stdout", "write");
		status = TEST_FAILED;
	}
	if (status != TEST_OK)
		fprintf(stderr, "%s\n", e.text);
	return status;
}
