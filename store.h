/* SPDX-License-Identifier: ISC */
/*
 * A replica directory: ROOT/ltx/LEVEL/MIN-MAX.ltx, ROOT/.lock and
 * ROOT/.identity.  Files are immutable once published.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "disk.h"
#include "ltx.h"
#include "util.h"

#define STORE_LEVELS 10		/* 0..8, and 9: snapshots */
#define STORE_SNAPSHOT 9

/* One file: its name's range, and what its header says (valid if !bad). */
struct store_file {
	int level;
	uint64_t min_txid, max_txid;	/* of the name */
	uint64_t size;
	int64_t mtime_ms;
	bool bad;	/* header unreadable, invalid, not that of the name;
			 * also set by whoever finds the file damaged */
	bool unread;	/* bad only in that it could not be read now */
	struct ltx_header h;
};

struct store_list {
	struct store_file *file;	/* by level, min_txid, max_txid */
	size_t n;
	struct err first_bad;	/* why the first bad file is bad; or ERR_NONE */
	struct err first_unread;
};

/* MIN and MAX from a name of the form MIN-MAX.ltx; false for any other. */
bool	store_parse_name(const char *name, struct store_file *f);
/* Whether it is the name of a file that is being written. */
bool	store_is_temporary(const char *name);
/* The path of f under root, malloc'd. */
char	*store_path(const char *root, const struct store_file *f);
/*
 * Directory from a replica URL, malloc'd, as upstream reads it (CLI 2.3).
 * ERR_USAGE: no scheme, or another than file.
 */
char	*store_url_path(const char *url, struct err *e);
/* Whether s has the form of a URL: ^\w+:// */
bool	store_is_url(const char *s);

/* The header against the name, and both against the level: ERR_DAMAGED. */
int	store_check_name(const struct store_file *f, const char *path,
	    struct err *e);
/* All files of one level, or of all (level -1), in order, headers read.  Names
 * of any other form are ignored; a missing directory is an empty list. */
int	store_list(const char *root, int level, struct store_list *l,
	    struct err *e);
void	store_list_free(struct store_list *l);
/* Largest max_txid of the names in the list, 0 if empty. */
uint64_t store_max_txid(const struct store_list *l);

/* Whether b, which follows a directly, says that it was built upon another
 * state than the one that a ends in.  What is not known is no contradiction. */
bool	store_contradicts(const struct store_file *a,
	    const struct store_file *b);

/* The directory of a level; descriptor or -1.  Below ROOT no symbolic link is
 * followed: whoever owns a replica must not lead us into another. */
int	store_open_level(const char *root, int level, struct err *e);
/* Renames the n damaged files, durably, to NAME.damaged: out of the way of
 * whoever plans, and kept for whoever looks.  What fails does not keep it from
 * the others. */
int	store_set_aside(const char *root, const struct store_file *f,
	    size_t n, struct err *e);
/* Opens for reading; descriptor or -1 (ERR_ABSENT if it has gone). */
int	store_open(const char *root, const struct store_file *f,
	    struct err *e);

/* Makes what a replica begins with: ROOT/ltx. */
int	store_make(const char *root, const struct disk_owner *o,
	    struct err *e);

/*
 * Publishing.  store_begin() makes the level's directory (where there is no
 * ROOT/ltx, only that of level 0: else the file system was unmounted, and what
 * it was mounted on must stay empty: ERR_ABSENT) and NAME.tmp, and
 * gives its descriptor; write the file through ltx_create() .. ltx_finish(),
 * then store_publish() sets the time to the header's timestamp, syncs, renames
 * and syncs the directory.  A file of that name with other bytes is never
 * replaced: ERR_DAMAGED.  *renamed tells whether the TXID is spent although
 * the call failed (the directory sync failed after the rename).
 */
struct store_new {
	struct store_file f;	/* level, min_txid, max_txid */
	char *path, *tmp;
	int dir, fd;		/* of the level; of NAME.tmp */
	bool renamed;
};

int	store_begin(struct store_new *n, const char *root, int level,
	    uint64_t min_txid, uint64_t max_txid, const struct disk_owner *o,
	    struct err *e);
int	store_publish(struct store_new *n, int64_t timestamp_ms,
	    bool *renamed, struct err *e);
/* Removes the temporary if it was not published; frees. */
void	store_end(struct store_new *n);

/* The same file under another level and range of names, durably: a hard link,
 * or a copy where links fail. */
int	store_link(const char *root, const struct store_file *from,
	    const struct store_file *to, const struct disk_owner *o,
	    struct err *e);

/*
 * Whose replica it is: ROOT/.identity, lines of "key value":
 *	id 32 hex digits, random, one per replica
 *	page_size bytes
 *	host name of the machine
 *	path absolute path of the database, to the end of the file
 */
#define STORE_ID_SIZE 33

struct store_identity {
	char id[STORE_ID_SIZE];
	uint32_t page_size;
	char *host, *path;
};

void	store_identity_new(struct store_identity *i, const char *db_path,
	    uint32_t page_size);
/* 1; 0 if there is none or it cannot be understood; -1. */
int	store_identity_read(const char *root, struct store_identity *i,
	    struct err *e);
int	store_identity_write(const char *root,
	    const struct store_identity *i, const struct disk_owner *o,
	    struct err *e);
void	store_identity_free(struct store_identity *i);

#endif
