/* SPDX-License-Identifier: ISC */
/* The commands of litestream-test, and the little of SQLite they share. */
#ifndef TEST_CMDS_H
#define TEST_CMDS_H

#include <sqlite3.h>

#include "opt.h"
#include "util.h"

/*
 * Commands take argv as opt_parse() wants it and return the exit status.  If
 * that is not TEST_OK, *e is what to print.  self is the program's argv[0].
 */
#define TEST_OK 0
#define TEST_FAILED 1
#define TEST_BAD_FLAG 2	/* as Go's flag package has it */
int	test_load(const char *self, int argc, char **argv, struct err *e);
int	test_shrink(const char *self, int argc, char **argv, struct err *e);
int	test_validate(const char *self, int argc, char **argv,
	    struct err *e);

/*
 * Read flags of a command that has no operands.  True: go on.  False: leave
 * with *status (usage was printed, or *e says what is wrong).
 */
bool	test_flags(const struct opt *opts, const char *usage, int argc,
	    char **argv, int *status, struct err *e);

/* Open for reading and writing, 5 s busy timeout; 0 or -1.  Errors are
 * "PATH: WHAT: reason".  A file is made only with create. */
int	sql_open(const char *path, bool create, sqlite3 **db, struct err *e);
int	sql_exec(sqlite3 *db, const char *what, const char *sql,
	    struct err *e);
int	sql_prepare(sqlite3 *db, const char *what, const char *sql,
	    sqlite3_stmt **stmt, struct err *e);
/* First column of the first row, which must be there. */
int	sql_i64(sqlite3 *db, const char *what, const char *sql, int64_t *v,
	    struct err *e);
int	sql_err(sqlite3 *db, const char *what, struct err *e);
/* Print into memory from sqlite3_malloc(), with %Q and %w; never NULL. */
char	*sql_text(const char *fmt, ...);

/* A database that is there; else "database does not exist: PATH". */
int	sql_exists(const char *path, struct err *e);
/* Bytes of the database with its -wal and -shm. */
int64_t	sql_size(const char *path);

/* What `litestream` is asked about: either URL or config is not empty. */
struct run {
	char *tool;		/* the command: see run_find() */
	const char *source, *url, *config;
};
/* The command beside this program if it is there, else the one in PATH;
 * malloc'd. */
char	*run_find(const char *self);
int	run_restore(const struct run *r, const char *restored,
	    struct err *e);
/* Whether the replica's files hold every TXID from the first to the last. */
int	run_continuity(const struct run *r, struct err *e);

#define MIB (1024 * 1024)
/* As Go prints a duration: "250ms", "1m2.5s". */
char	*text_duration(char buf[TEXT_SIZE], int64_t ms);
char	*text_float(char buf[TEXT_SIZE], int decimals, double v);
#define DURATION(ms) text_duration((char[TEXT_SIZE]){0}, ms)
#define FLOAT(decimals, v) text_float((char[TEXT_SIZE]){0}, decimals, v)
#define FLAG(b) ((b) ? "true" : "false")

/* Fast random numbers (SplitMix64), seeded by the system. */
struct rng {
	uint64_t state;
};
void	rng_seed(struct rng *r);
uint64_t rng_next(struct rng *r);
double	rng_unit(struct rng *r);	/* [0, 1) */
void	rng_fill(struct rng *r, void *p, size_t n);

#endif
