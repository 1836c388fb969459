/* SPDX-License-Identifier: ISC */
/*
 * litestream.yml, as litestream.5 has it: what it says, checked, with defaults
 * filled in.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define CONFIG_MAX_LEVELS 8

struct config_snapshot {
	int64_t interval_ms, retention_ms;	/* of a db: 0 if not given */
};

struct config_sync {
	int64_t interval_ms;	/* between passes; -1: by load */
};

/* One entry of dbs: a database, or a directory of databases (path NULL). */
struct config_db {
	size_t line;
	char *path;		/* absolute, as are the paths below */
	char *dir, *pattern;	/* pattern: of base names, as fnmatch(3) */
	bool recursive, watch;
	char *meta_path;	/* NULL: beside the database; dir: a base */
	char *meta_dir;		/* NULL, or only with dir: another base */
	char *root;		/* replica directory; dir: what the path of
				 * the database within dir is appended to */
	struct config_snapshot snapshot;	/* lifted to struct config */
	struct config_sync sync;
	int64_t min_checkpoint_pages;	/* 0: our own rule */
	int64_t truncate_pages;		/* 0: our own rule; < 0: never */
	bool restore_if_absent;
	bool audit;
};

struct config {
	char *path;		/* the file */
	struct config_db *db;
	size_t n_db;
	char *exec;		/* "": none, as with all strings here */
	char *addr;		/* host:port for metrics */
	char *on_error, *on_recover, *on_snapshot;	/* for a shell */
	int64_t level_ms[CONFIG_MAX_LEVELS];	/* level_ms[0]: level 1 */
	size_t levels;
	struct config_snapshot snapshot;
	int64_t l0_retention_ms;	/* 0: never delete */
	int64_t l0_check_ms;
	int64_t validation_ms;		/* 0: off */
	bool retention;			/* may delete at all */
	int64_t stop_timeout_ms, stop_retry_ms;
	bool socket;
	char *socket_path;
	int64_t socket_mode;
	char *log_level;
	char *log_type;			/* text, json or pretty */
	bool log_stderr;
	bool audit;
	struct config_sync sync;	/* for those dbs that do not say */

	char **warning;			/* "PATH:LINE: ignored key: ..." */
	size_t n_warnings;
};

/* LITESTREAM_CONFIG, else /etc/litestream.yml. */
const char *config_default_path(void);
/* Defaults filled in.  ERR_USAGE names path, line and key. */
int	config_load(const char *path, bool expand_env, struct config **c,
	    struct err *e);
void	config_free(struct config *c);
/* Whether databases may come later: a directory is watched. */
bool	config_watches(const struct config *c);
/* One log line per key that was ignored. */
void	config_warn(const struct config *c);
/*
 * The entry for a database (an absolute path) as a copy of its own, also where
 * it lies in a directory of the configuration; NULL if there is none.
 */
struct config_db *config_find(const struct config *c, const char *db_path);
/* The entry for a database beneath d->dir: own path, root and meta_path. */
struct config_db *config_dir_entry(const struct config_db *d,
	    const char *db_path);
void	config_db_free(struct config_db *d);

#endif
