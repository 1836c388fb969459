/* SPDX-License-Identifier: ISC */
/*
 * The live database: the only module that talks to SQLite while replicating.
 *
 * A db has three connections.  Two take turns to hold a read transaction, the
 * pin; the third takes the write lock for the last resort of checkpoints.  No
 * descriptor of the database or of -shm is ever ours (POSIX locks die with any
 * of them).  One thread at a time uses a db, but for db_relieve().
 */
#ifndef DB_H
#define DB_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"
#include "wal.h"

struct db;

/*
 * Opens path, in the journal mode that it has.  ERR_ABSENT: not there, or an
 * empty file; ERR_BUSY: locked, try again; anything else is a reason to refuse.
 */
int	db_open(struct db **db, const char *path, struct err *e);
/* From a rollback journal to WAL; without a pin.  ERR_BUSY. */
int	db_switch_to_wal(struct db *db, struct err *e);
/*
 * Closes all connections.  A WAL with content is left as it is; where it is
 * empty and nobody else has the database open, SQLite removes it.
 */
void	db_close(struct db *db);

uint32_t db_page_size(const struct db *db);
bool	db_is_wal(const struct db *db);
const char *db_wal_path(const struct db *db);
/* Whether the path still leads to the file that is open, of that page size. */
bool	db_has_moved(struct db *db);
/* Changes when another connection commits: for file systems without events. */
int	db_data_version(struct db *db, int64_t *v, struct err *e);

/*
 * Pins.  db_pin() begins the idle one of the two; both are then held until
 * db_unpin_old() ends the older.  db_unpin_new() takes db_pin() back.
 * db_unpin_all() ends whatever is held.  ERR_BUSY after about a second.
 */
int	db_pin(struct db *db, struct err *e);
bool	db_is_pinned(struct db *db);
void	db_unpin_old(struct db *db);
void	db_unpin_new(struct db *db);
void	db_unpin_all(struct db *db);
/*
 * From any other thread: ends the read transactions while the db's own thread
 * is stuck elsewhere, so that the WAL can be restarted.  False: was done
 * already, or that thread is inside SQLite.
 */
bool	db_relieve(struct db *db);
/* Whether that has happened: what was read may be torn, and is not to be
 * published.  True until db_is_pinned() or db_pin() has told so. */
bool	db_is_relieved(const struct db *db);

/* The header of the wal-index, while pinned: 1; 0 if it is not readable (torn
 * by a writer that died: the next pin recovers it); -1. */
int	db_index(struct db *db, struct wal_index *x, struct err *e);
/* The -wal that the pin protects, opened once per file (device and inode); 1;
 * 0 if there is none; -1.  The reader is the db's, until the next call. */
int	db_wal(struct db *db, struct wal **w, struct err *e);
/* A page of the database file itself; zeros past its end. */
int	db_read_page(struct db *db, uint32_t pgno, uint8_t *page,
	    struct err *e);
/* Whether a database of commit pages can be made of the database file, the
 * first known pages, and the pages of m: ERR_DAMAGED if it cannot. */
int	db_check_size(struct db *db, uint32_t commit, uint32_t known,
	    const struct wal_map *m, struct err *e);
/* Pages of the database file: by its header where that is valid (rollback
 * journal), else by its size. */
int	db_file_pages(struct db *db, uint32_t *n, struct err *e);

/*
 * Checkpoints, on the connection that holds no pin.  *all: the whole WAL is in
 * the database file.  Not complete is not an error.
 */
int	db_checkpoint(struct db *db, bool *all, struct err *e);
/* Only with a pin on mark 0; *done tells whether the WAL is empty now. */
int	db_truncate_wal(struct db *db, bool *done, struct err *e);
/* Makes the database file durable, through SQLite's own descriptor. */
int	db_sync(struct db *db, struct err *e);
/* The write lock, at once or not at all: 1 or 0. */
int	db_write_lock(struct db *db);
void	db_write_unlock(struct db *db);

/* "ok" from PRAGMA quick_check or integrity_check of a closed database file;
 * ERR_DAMAGED with the first complaint.  Leaves no -wal or -shm. */
int	db_check_file(const char *path, bool full, struct err *e);
/*
 * The same in steps, for a file that loses its name: opened while it is still
 * empty, then unlinked, then written, in rollback mode, through another
 * descriptor.
 */
struct db_check;
int	db_check_open(struct db_check **k, const char *path, struct err *e);
int	db_check_run(struct db_check *k, bool full, struct err *e);
void	db_check_free(struct db_check *k);
/* Has SQLite play all frames of the WAL beside a database that nobody uses into
 * it, and remove it.  ERR_DAMAGED, also if it takes another number of them. */
int	db_apply_wal(const char *path, uint32_t frames, struct err *e);
/* The version of SQLite in use, and whether it has the WAL-reset bug
 * (3.7.0 to 3.51.2 but for 3.44.6.. and 3.50.7..). */
const char *db_sqlite_version(void);
bool	db_sqlite_has_reset_bug(void);

#endif
