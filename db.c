/* SPDX-License-Identifier: ISC */
/*
 * The live database, through SQLite.
 *
 * Connections 0 and 1 take turns to hold a read transaction; connection 2 takes
 * the write lock for the last step of a checkpoint that cannot finish without.
 * From SQLite's locking it follows that while a read transaction is held on
 * mark M > 0 nobody can restart or truncate the WAL, and nobody can copy frames
 * past M into the database file; and that on mark 0 nobody can copy any.
 *
 * Raw pages are read through the sqlite3_file of connection 0
 * (SQLITE_FCNTL_FILE_POINTER), and so is the shared memory of the wal-index: a
 * descriptor of our own on either file would, when closed, drop SQLite's POSIX
 * locks.  The -wal has no such locks and is opened here.
 *
 * A thread that is stuck in a dead disk must not keep the WAL for ever: another
 * may end both transactions (the connections are serialized by SQLite, and the
 * ones of an idle thread are free).  The flag that says so is set before, is
 * seen by whoever publishes or begins a pin, and means that all continuity is
 * lost.
 *
 * Nothing of the application's is changed: no checkpoint on close, no removal
 * of a WAL with content, no page cache to speak of.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "be.h"
#include "db.h"
#include "disk.h"
#include "wal.h"

#define CONNECTIONS 3
#define SAFE_JSON 3041000	/* version of SQLite */
#define LOCKER 2		/* the connection that takes the write lock */
#define SHM_REGION 32768
#define INDEX_LOOKS 1000
#define PIN_TRIES 1000		/* a millisecond apart */
#define SQLITE_HEADER_SIZE 100
#define HEADER_PAGE_SIZE 16
#define HEADER_READ_VERSION 19
#define WAL_VERSION 2
#define OPEN_BUSY_MS 2000	/* patience while opening; none after */

struct db {
	char *given;		/* as the caller names it, maybe a link */
	char *wal_path, *shm_path;	/* as SQLite resolves it */
	sqlite3 *c[CONNECTIONS];
	int cur;		/* connection that is pinned, or next is not */
	bool pinned[2];
	atomic_bool relieved;
	sqlite3_file *file;
	uint32_t page_size;
	bool is_wal;
	struct disk_stat self, wal_self, shm_self;	/* dev and ino */
	bool sidecars_known;
	int wal_fd;
	struct wal *wal;
};

/* The error of a connection; kind by what can be done about it. */
static int
fail(sqlite3 *c, int rc, const char *path, const char *what, struct err *e)
{
	enum err_kind kind = ERR_SYSTEM;

	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		kind = ERR_BUSY;
		break;
	case SQLITE_FULL:
		kind = ERR_FULL;
		break;
	case SQLITE_NOTADB:
		err_set(e, ERR_SYSTEM, "%s: file is not a database "
		    "(not SQLite, or encrypted)", path);
		return -1;
	}
	err_set(e, kind, "%s: %s: %s", path, what,
	    c != NULL && sqlite3_errcode(c) != SQLITE_OK ?
	    sqlite3_errmsg(c) : sqlite3_errstr(rc));
	if ((rc & 0xff) == SQLITE_CANTOPEN)
		err_hint(e, "check that the directory is writable, or that "
		    "the -wal and -shm files exist and can be read");
	return -1;
}

static int
run(sqlite3 *c, const char *sql)
{
	return sqlite3_exec(c, sql, NULL, NULL, NULL);
}

/* First column of the first row, as an integer or as text (malloc'd). */
static int
query(sqlite3 *c, const char *sql, int64_t *v, char **text)
{
	sqlite3_stmt *s;
	int rc = sqlite3_prepare_v2(c, sql, -1, &s, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		if (v != NULL)
			*v = sqlite3_column_int64(s, 0);
		if (text != NULL)
			*text = xstrdup((const char *)
			    sqlite3_column_text(s, 0));
	}
	sqlite3_finalize(s);
	return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ?
	    SQLITE_ERROR : rc;
}

static bool
exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

/*
 * SQLite gives -wal and -shm the database's mode, but our user.  Where we are
 * neither root nor the database's owner, they must be usable through the group
 * or by everyone, or the application is locked out of its own database.
 */
static int
refuse_to_lock_out(const char *path, const char *wal, const char *shm,
    struct err *e)
{
	struct stat st, dir;
	char *parent;
	bool same_group;

	if (geteuid() == 0 || stat(path, &st) != 0 ||
	    st.st_uid == geteuid() || (exists(wal) && exists(shm)))
		return 0;
	parent = path_dir(path);
	same_group = st.st_gid == getegid() || (stat(parent, &dir) == 0 &&
	    (dir.st_mode & S_ISGID) != 0 && dir.st_gid == st.st_gid);
	free(parent);
	if ((st.st_mode & 0006) == 0006 ||
	    (same_group && (st.st_mode & 0060) == 0060))
		return 0;
	err_set(e, ERR_SYSTEM, "%s: owned by uid %ld: its -wal and -shm, "
	    "created by us as uid %ld, would lock the application out",
	    path, (long)st.st_uid, (long)geteuid());
	err_hint(e, "run as the user of the application, or as root");
	return -1;
}

/* What can be told before SQLite reads, and so creates, anything. */
static int
examine(struct db *db, struct err *e)
{
	struct stat st;

	if (stat(db->given, &st) != 0)
		return err_sys(e, db->given, "open");
	if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return err_sys(e, db->given, "open");
	}
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_SYSTEM, "%s: not a regular file",
		    db->given);
	if (st.st_size == 0)
		return err_set(e, ERR_ABSENT, "%s: empty file, not yet a "
		    "database", db->given);
	if (access(db->given, R_OK) != 0)
		return err_sys(e, db->given, "open");
	return disk_stat(db->given, &db->self, e);
}

/*
 * There may be a thousand databases, each with a thread and three connections.
 * Without this each would have 250 KB in reserve, of which they use next to
 * nothing, and all would wait for the one lock of SQLite's memory statistics.
 */
static void
configure(void)
{
	sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int
open_all(struct db *db, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const char *path;
	int i, rc;

	pthread_once(&once, configure);
	for (i = 0; i < CONNECTIONS; i++) {
		rc = sqlite3_open_v2(db->given, &db->c[i],
		    SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL);
		if (rc != SQLITE_OK)
			return fail(db->c[i], rc, db->given, "open", e);
		sqlite3_extended_result_codes(db->c[i], 1);
		sqlite3_busy_timeout(db->c[i], OPEN_BUSY_MS);
	}
	path = sqlite3_db_filename(db->c[0], "main");
	db->wal_path = xasprintf("%s-wal", path);
	db->shm_path = xasprintf("%s-shm", path);
	return refuse_to_lock_out(path, db->wal_path, db->shm_path, e);
}

static int
set_up(struct db *db, sqlite3 *c, struct err *e)
{
	int on = 1, rc;

	sqlite3_db_config(c, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_file_control(c, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
	rc = run(c, "PRAGMA wal_autocheckpoint=0; PRAGMA mmap_size=0;"
	    "PRAGMA synchronous=NORMAL; PRAGMA cache_size=2");
	return rc == SQLITE_OK ? 0 : fail(c, rc, db->given, "open", e);
}

/* Journal mode and page size, as the file has them. */
static int
learn(struct db *db, struct err *e)
{
	char *mode = NULL;
	int64_t size;
	int rc;

	rc = query(db->c[0], "PRAGMA journal_mode", NULL, &mode);
	db->is_wal = rc == SQLITE_OK && strcmp(mode, "wal") == 0;
	free(mode);
	if (rc == SQLITE_OK)
		rc = query(db->c[0], "PRAGMA schema_version", &size, NULL);
	if (rc == SQLITE_OK)
		rc = query(db->c[0], "PRAGMA page_size", &size, NULL);
	if (rc != SQLITE_OK)
		return fail(db->c[0], rc, db->given, "open", e);
	db->page_size = (uint32_t)size;
	return 0;
}

int
db_switch_to_wal(struct db *db, struct err *e)
{
	char *mode = NULL;
	int rc = query(db->c[0], "PRAGMA journal_mode=wal", NULL, &mode);

	if (rc != SQLITE_OK)
		return fail(db->c[0], rc, db->given, "enable wal", e);
	db->is_wal = strcmp(mode, "wal") == 0;
	if (!db->is_wal)
		err_set(e, ERR_SYSTEM, "%s: enable wal failed, mode=\"%s\"",
		    db->given, mode);
	free(mode);
	return db->is_wal ? 0 : -1;
}

int
db_open(struct db **out, const char *path, struct err *e)
{
	struct db *db = xcalloc(1, sizeof *db);
	int i;

	db->given = xstrdup(path);
	db->wal_fd = -1;
	if (examine(db, e) != 0 || open_all(db, e) != 0)
		goto bad;
	for (i = 0; i < CONNECTIONS; i++)
		if (set_up(db, db->c[i], e) != 0)
			goto bad;
	if (learn(db, e) != 0)
		goto bad;
	if (sqlite3_file_control(db->c[0], "main",
	    SQLITE_FCNTL_FILE_POINTER, &db->file) != SQLITE_OK ||
	    db->file == NULL || db->file->pMethods == NULL) {
		err_set(e, ERR_SYSTEM, "%s: SQLite gives no file", path);
		goto bad;
	}
	for (i = 0; i < CONNECTIONS; i++)
		sqlite3_busy_timeout(db->c[i], 0);
	*out = db;
	return 0;
bad:
	db_close(db);
	return -1;
}

/* As the last connection of an empty WAL we close like anybody else. */
static void
allow_cleanup(struct db *db)
{
	struct stat st;
	int i, off = 0;

	if (!db->is_wal || stat(db->wal_path, &st) != 0 || st.st_size != 0 ||
	    db_has_moved(db))
		return;
	for (i = 0; i < CONNECTIONS; i++) {
		sqlite3_db_config(db->c[i], SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
		    0, NULL);
		sqlite3_file_control(db->c[i], "main",
		    SQLITE_FCNTL_PERSIST_WAL, &off);
	}
}

void
db_close(struct db *db)
{
	int i;

	if (db == NULL)
		return;
	if (db->file != NULL) {
		db_unpin_all(db);
		allow_cleanup(db);
	}
	for (i = CONNECTIONS - 1; i >= 0; i--)
		sqlite3_close(db->c[i]);
	wal_free(db->wal);
	if (db->wal_fd >= 0)
		close(db->wal_fd);
	free(db->shm_path);
	free(db->wal_path);
	free(db->given);
	free(db);
}

uint32_t
db_page_size(const struct db *db)
{
	return db->page_size;
}

bool
db_is_wal(const struct db *db)
{
	return db->is_wal;
}

const char *
db_wal_path(const struct db *db)
{
	return db->wal_path;
}

static bool
same_file(const char *path, const struct disk_stat *s)
{
	struct disk_stat now;
	struct err ignored;

	return disk_stat(path, &now, &ignored) == 0 && now.dev == s->dev &&
	    now.ino == s->ino;
}

bool
db_has_moved(struct db *db)
{
	int moved = 0;

	if (!same_file(db->given, &db->self) ||
	    sqlite3_file_control(db->c[0], "main", SQLITE_FCNTL_HAS_MOVED,
	    &moved) != SQLITE_OK || moved)
		return true;
	return db->sidecars_known &&
	    (!same_file(db->wal_path, &db->wal_self) ||
	    !same_file(db->shm_path, &db->shm_self));
}

int
db_data_version(struct db *db, int64_t *v, struct err *e)
{
	int rc = query(db->c[LOCKER], "PRAGMA data_version", v, NULL);

	return rc == SQLITE_OK ? 0 :
	    fail(db->c[LOCKER], rc, db->given, "data_version", e);
}

/* The pragma reads page 1, which is what begins the read transaction. */
static int
begin(sqlite3 *c)
{
	int64_t ignored;
	int rc;

	/* A ROLLBACK that failed (no memory) must not stay for ever. */
	if (!sqlite3_get_autocommit(c))
		run(c, "ROLLBACK");
	rc = run(c, "BEGIN");

	if (rc != SQLITE_OK)
		return rc;
	rc = query(c, "PRAGMA schema_version", &ignored, NULL);
	if (rc != SQLITE_OK)
		run(c, "ROLLBACK");
	return rc;
}

static void
end(struct db *db, int i)
{
	if (db->pinned[i])
		run(db->c[i], "ROLLBACK");
	db->pinned[i] = false;
}

/* Under a read transaction: by the header, is it what was opened? */
static bool
became_other(struct db *db)
{
	uint8_t h[HEADER_READ_VERSION + 1];
	uint32_t size;

	if (db->file->pMethods->xRead(db->file, h, sizeof h, 0) != SQLITE_OK)
		return true;
	size = be16(h + HEADER_PAGE_SIZE);
	return h[HEADER_READ_VERSION] == WAL_VERSION ||
	    (size == 1 ? 65536 : size) != db->page_size;
}

int
db_pin(struct db *db, struct err *e)
{
	int i = db->pinned[db->cur] ? !db->cur : db->cur, rc = SQLITE_OK;
	int try;

	for (try = 0; try < PIN_TRIES; try++) {
		rc = begin(db->c[i]);
		if ((rc & 0xff) != SQLITE_BUSY &&
		    (rc & 0xff) != SQLITE_PROTOCOL)
			break;
		sleep_ms(1);
	}
	if (rc != SQLITE_OK)
		return fail(db->c[i], rc, db->given, "begin", e);
	db->pinned[i] = true;
	if (!db->is_wal && became_other(db)) {
		end(db, i);
		return err_set(e, ERR_BUSY, "%s: was converted while "
		    "we looked", db->given);
	}
	if (db_is_relieved(db)) {
		db_is_pinned(db);
		return err_set(e, ERR_BUSY, "%s: was let go of",
		    db->wal_path);
	}
	if (db->is_wal && !db->sidecars_known)
		db->sidecars_known = disk_stat(db->wal_path, &db->wal_self,
		    e) == 0 && disk_stat(db->shm_path, &db->shm_self, e) == 0;
	return 0;
}

bool
db_relieve(struct db *db)
{
	sqlite3_mutex *m[2];
	int i, held = 0;

	if (db_is_relieved(db))
		return false;
	for (i = 0; i < 2; i++) {
		m[i] = sqlite3_db_mutex(db->c[i]);
		if (sqlite3_mutex_try(m[i]) != SQLITE_OK)
			break;
		held++;
	}
	if (held == 2) {
		atomic_store(&db->relieved, true);
		for (i = 0; i < 2; i++)
			if (!sqlite3_get_autocommit(db->c[i]))
				run(db->c[i], "ROLLBACK");
	}
	for (i = 0; i < held; i++)
		sqlite3_mutex_leave(m[i]);
	return held == 2;
}

bool
db_is_relieved(const struct db *db)
{
	return atomic_load(&db->relieved);
}

bool
db_is_pinned(struct db *db)
{
	if (db_is_relieved(db)) {
		db_unpin_all(db);
		atomic_store(&db->relieved, false);
	}
	return db->pinned[0] || db->pinned[1];
}

void
db_unpin_old(struct db *db)
{
	if (!db->pinned[!db->cur])
		return;
	end(db, db->cur);
	db->cur = !db->cur;
}

void
db_unpin_new(struct db *db)
{
	end(db, !db->cur);
}

void
db_unpin_all(struct db *db)
{
	end(db, 0);
	end(db, 1);
}

/*
 * Two equal looks: a writer that restarts the WAL sets the header, and then the
 * counters of checkpoints, and we must not see one without the other.
 */
static bool
copy_index(const volatile uint8_t *shm, uint8_t *copy)
{
	uint8_t again[WAL_INDEX_SIZE];
	int i, tries;

	for (tries = 0; tries < INDEX_LOOKS; tries++) {
		for (i = 0; i < WAL_INDEX_SIZE; i++)
			copy[i] = shm[i];
		atomic_thread_fence(memory_order_seq_cst);
		for (i = 0; i < WAL_INDEX_SIZE; i++)
			again[i] = shm[i];
		if (memcmp(copy, again, WAL_INDEX_LOCKS) == 0 &&
		    memcmp(copy + WAL_INDEX_LOCKS_END,
		    again + WAL_INDEX_LOCKS_END, WAL_INDEX_SIZE -
		    WAL_INDEX_LOCKS_END) == 0)
			return true;
	}
	return false;
}

int
db_index(struct db *db, struct wal_index *x, struct err *e)
{
	void volatile *shm = NULL;
	uint8_t copy[WAL_INDEX_SIZE];
	int rc;

	rc = db->file->pMethods->xShmMap(db->file, 0, SHM_REGION, 0, &shm);
	if ((rc != SQLITE_OK && (rc & 0xff) != SQLITE_READONLY) ||
	    shm == NULL)
		return fail(NULL, rc, db->shm_path, "map", e);
	if (!copy_index(shm, copy) || !wal_index_parse(copy, x))
		return 0;
	/* Recovered from an empty WAL, the index has no page size yet. */
	if (x->mx_frame > 0 && x->page_size != db->page_size)
		return err_set(e, ERR_DAMAGED, "%s: page size is %lu in the "
		    "index, %lu in the database", db->shm_path,
		    (unsigned long)x->page_size,
		    (unsigned long)db->page_size);
	return 1;
}

int
db_wal(struct db *db, struct wal **w, struct err *e)
{
	if (db->wal == NULL) {
		db->wal_fd = open(db->wal_path, O_RDONLY | O_NOFOLLOW |
		    O_NONBLOCK | O_CLOEXEC);
		if (db->wal_fd < 0)
			return errno == ENOENT ? 0 :
			    err_sys(e, db->wal_path, "open");
		db->wal = wal_new(db->wal_fd, db->wal_path, db->page_size);
	}
	*w = db->wal;
	return 1;
}

int
db_read_page(struct db *db, uint32_t pgno, uint8_t *page, struct err *e)
{
	int rc = db->file->pMethods->xRead(db->file, page,
	    (int)db->page_size, (sqlite3_int64)(pgno - 1) * db->page_size);

	if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ) {
		fail(NULL, rc, db->given, "read", e);
		return -1;
	}
	return 0;
}

int
db_file_pages(struct db *db, uint32_t *n, struct err *e)
{
	uint8_t h[SQLITE_HEADER_SIZE];
	sqlite3_int64 size;
	int rc = db->file->pMethods->xFileSize(db->file, &size);

	if (rc != SQLITE_OK)
		return fail(NULL, rc, db->given, "size", e);
	*n = (uint32_t)(size / db->page_size);
	if (db->is_wal || *n == 0)
		return 0;
	rc = db->file->pMethods->xRead(db->file, h, sizeof h, 0);
	if (rc != SQLITE_OK)
		return fail(NULL, rc, db->given, "read", e);
	if (be32(h + 28) != 0 && be32(h + 28) <= *n &&
	    memcmp(h + 24, h + 92, 4) == 0)
		*n = be32(h + 28);
	return 0;
}

int
db_check_size(struct db *db, uint32_t commit, uint32_t known,
    const struct wal_map *m, struct err *e)
{
	uint32_t file, largest = wal_map_largest(m);

	if (db_file_pages(db, &file, e) != 0)
		return -1;
	if (file > largest)
		largest = file;
	if (known > largest)
		largest = known;
	if (commit == 0 || commit - 1 > largest)	/* 1: the lock page */
		return err_set(e, ERR_DAMAGED, "%s: commit of %lu pages, of "
		    "which only %lu exist", db->wal_path,
		    (unsigned long)commit, (unsigned long)largest);
	return 0;
}

static sqlite3 *
idle(const struct db *db)
{
	return db->c[db->pinned[db->cur] ? !db->cur : db->cur];
}

int
db_checkpoint(struct db *db, bool *all, struct err *e)
{
	sqlite3 *c = idle(db);
	int frames = -1, copied = -1, rc;

	*all = false;
	rc = sqlite3_wal_checkpoint_v2(c, "main", SQLITE_CHECKPOINT_PASSIVE,
	    &frames, &copied);
	if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
		return 0;
	if (rc != SQLITE_OK)
		return fail(c, rc, db->given, "checkpoint", e);
	*all = frames >= 0 && frames == copied;
	return 0;
}

int
db_truncate_wal(struct db *db, bool *done, struct err *e)
{
	sqlite3 *c = idle(db);
	int frames = -1, copied = -1, rc;

	*done = false;
	rc = sqlite3_wal_checkpoint_v2(c, "main", SQLITE_CHECKPOINT_TRUNCATE,
	    &frames, &copied);
	if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
		return 0;
	if (rc != SQLITE_OK)
		return fail(c, rc, db->given, "checkpoint", e);
	*done = true;
	return 0;
}

int
db_sync(struct db *db, struct err *e)
{
	int rc = db->file->pMethods->xSync(db->file, SQLITE_SYNC_NORMAL);

	return rc == SQLITE_OK ? 0 : fail(NULL, rc, db->given, "fsync", e);
}

int
db_write_lock(struct db *db)
{
	return run(db->c[LOCKER], "BEGIN IMMEDIATE") == SQLITE_OK;
}

void
db_write_unlock(struct db *db)
{
	run(db->c[LOCKER], "ROLLBACK");
}

struct db_check {
	char *path;
	sqlite3 *c;
};

int
db_check_open(struct db_check **out, const char *path, struct err *e)
{
	struct db_check *k = xcalloc(1, sizeof *k);
	/* Older ones take their own JSON functions for unsafe: a good database
	 * with CHECK(json_valid(x)) would be damaged. */
	const char *schema = sqlite3_libversion_number() < SAFE_JSON ? "" :
	    "PRAGMA trusted_schema=OFF";

	k->path = xstrdup(path);
	if (sqlite3_open_v2(path, &k->c, SQLITE_OPEN_READWRITE |
	    SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
	    run(k->c, "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0") !=
	    SQLITE_OK || run(k->c, schema) != SQLITE_OK) {
		err_set(e, ERR_SYSTEM, "%s: open: %s", path,
		    sqlite3_errmsg(k->c));
		db_check_free(k);
		return -1;
	}
	*out = k;
	return 0;
}

int
db_check_run(struct db_check *k, bool full, struct err *e)
{
	char *text = NULL;
	int rc;

	rc = query(k->c, full ? "PRAGMA integrity_check(1)" :
	    "PRAGMA quick_check(1)", NULL, &text);
	if (rc != SQLITE_OK)	/* else it could not be checked */
		err_set(e, (rc & 0xff) == SQLITE_CORRUPT ||
		    (rc & 0xff) == SQLITE_NOTADB ? ERR_DAMAGED : ERR_SYSTEM,
		    "%s: integrity check failed: %s", k->path,
		    sqlite3_errmsg(k->c));
	else if (strcmp(text, "ok") != 0)
		rc = err_set(e, ERR_DAMAGED,
		    "%s: integrity check failed: %s", k->path, text);
	free(text);
	return rc == SQLITE_OK ? 0 : -1;
}

void
db_check_free(struct db_check *k)
{
	if (k == NULL)
		return;
	sqlite3_close(k->c);
	free(k->path);
	free(k);
}

int
db_check_file(const char *path, bool full, struct err *e)
{
	struct db_check *k = NULL;
	int rc;

	rc = db_check_open(&k, path, e);
	if (rc == 0)
		rc = db_check_run(k, full, e);
	db_check_free(k);
	return rc;
}

int
db_apply_wal(const char *path, uint32_t frames, struct err *e)
{
	int n = 0, copied = 0, rc;
	sqlite3 *c = NULL;

	rc = sqlite3_open_v2(path, &c, SQLITE_OPEN_READWRITE |
	    SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = query(c, "PRAGMA schema_version", NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_wal_checkpoint_v2(c, "main",
		    SQLITE_CHECKPOINT_PASSIVE, &n, &copied);
	if (rc == SQLITE_OK && (n < 0 || (uint32_t)n != frames || copied != n))
		rc = err_set(e, ERR_DAMAGED, "%s-wal: %d of %lu frames could "
		    "be applied", path, copied < 0 ? 0 : copied,
		    (unsigned long)frames);
	else if (rc != SQLITE_OK)
		err_set(e, ERR_DAMAGED, "%s: cannot apply its WAL: %s", path,
		    sqlite3_errmsg(c));
	sqlite3_close(c);	/* removes the WAL */
	return rc == SQLITE_OK ? 0 : -1;
}

const char *
db_sqlite_version(void)
{
	return sqlite3_libversion();
}

bool
db_sqlite_has_reset_bug(void)
{
	int v = sqlite3_libversion_number();

	return v >= 3007000 && v <= 3051002 &&
	    !(v >= 3044006 && v < 3045000) && !(v >= 3050007 && v < 3051000);
}
