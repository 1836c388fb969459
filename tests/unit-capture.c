/* SPDX-License-Identifier: ISC */
/*
 * unit-capture WHAT DB ROOT: the pins and the position, one step at a time,
 * with an application in between.  What is in the replica afterwards is looked
 * at by who runs it.
 */
#include <sys/resource.h>
#include <sys/stat.h>

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../audit.h"
#include "../be.h"
#include "../checkpoint.h"
#include "../pair.h"
#include "tap.h"

#define PAGE_SIZE 1024
#define FRAME_SIZE (PAGE_SIZE + 24)

static struct pair p;
static sqlite3 *app;
static struct err e;

/* What the next fsync meets. */
static bool fail_file;
static int fail_dir;		/* that of so many directories from now */
static const char *take_over;	/* another gets this name */
/* What happens just before the write lock is asked for: the reader ends, and so
 * much is committed; -1: nothing happens. */
static int before_lock = -1;
static sqlite3 *reader;

/* In place of libc's. */
int
fsync(int fd)
{
	struct stat st;
	FILE *f;
	bool fails;

	if (take_over != NULL && (unlink(take_over) != 0 ||
	    (f = fopen(take_over, "w")) == NULL || fclose(f) != 0))
		die("%s: cannot be made anew", take_over);
	take_over = NULL;
	fails = fstat(fd, &st) == 0 && (S_ISDIR(st.st_mode) ?
	    fail_dir > 0 && --fail_dir == 0 : fail_file);
	if (fails)
		errno = EIO;
	return fails ? -1 : fdatasync(fd);
}

static void
run(const char *sql)
{
	if (sqlite3_exec(app, sql, NULL, NULL, NULL) != SQLITE_OK)
		die("%s: %s", sql, sqlite3_errmsg(app));
}

static void
commit(int id, int bytes)
{
	char sql[128];

	snprintf(sql, sizeof sql,
	    "REPLACE INTO t(id, b) VALUES(%d, randomblob(%d))", id, bytes);
	run(sql);
}

/* The application's checkpoint: how many frames there are, less those copied */
static int
left(int mode)
{
	int frames = -1, copied = -1;

	sqlite3_wal_checkpoint_v2(app, NULL, mode, &frames, &copied);
	return frames - copied;
}

static int
pass(void)
{
	bool found;

	return capture_pass(&p.c, &found, &e);
}

/* No file can be written: as if the replica were full. */
static void
full(bool on)
{
	struct rlimit lim;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &lim);
	lim.rlim_cur = on ? 0 : lim.rlim_max;
	setrlimit(RLIMIT_FSIZE, &lim);
}

/* Called by our connections for each statement. */
static int
trace(unsigned what, void *context, void *statement, void *sql)
{
	int bytes = before_lock;

	(void)what;
	(void)context;
	(void)statement;
	if (bytes < 0 || strcmp(sql, "BEGIN IMMEDIATE") != 0)
		return 0;
	before_lock = -1;
	if (sqlite3_exec(reader, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
		die("%s", sqlite3_errmsg(reader));
	if (bytes > 0)
		commit(2, bytes);
	return 0;
}

/* For each connection that is opened from now on. */
static int
watch(sqlite3 *c, const char **why, const struct sqlite3_api_routines *api)
{
	(void)why;
	(void)api;
	return sqlite3_trace_v2(c, SQLITE_TRACE_STMT, trace, NULL);
}

/* A reader keeps the checkpoint without the lock from being complete. */
static void
test_tail(int bytes, bool fits)
{
	bool complete = !fits;
	int rc;

	if (sqlite3_open(p.cf.db_path, &reader) != SQLITE_OK ||
	    sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM t", NULL, NULL,
	    NULL) != SQLITE_OK)
		die("%s", sqlite3_errmsg(reader));
	commit(1, 9000);
	before_lock = bytes;
	rc = checkpoint_locked(&p.c, &complete, &e);
	ok(rc == 0 && before_lock == -1 && complete == fits,
	    "under the write lock, %d bytes", bytes);
	sqlite3_close(reader);
}

static void
test_pin(void)
{
	bool found;

	commit(1, 9000);
	ok(pass() == 0 && left(SQLITE_CHECKPOINT_PASSIVE) == 0,
	    "after a pass everybody can copy the whole WAL");
	commit(2, 9000);
	ok(pass() == 0, "a pass");
	commit(3, 90000);
	full(true);
	ok(capture_move_pin(&p.c, &found, &e) < 0, "the replica is full");
	full(false);
	ok(left(SQLITE_CHECKPOINT_PASSIVE) > 0,
	    "nobody can copy what is not consumed");
	ok(pass() == 0, "the replica is not full any more");
}

/* The file of level 0 of so many TXIDs from now. */
static char *
path_of(uint64_t ahead, const char *end)
{
	uint64_t txid = p.pages.txid + ahead;

	return xasprintf("%s/ltx/0/%s-%s.ltx%s", p.cf.root, TXID(txid),
	    TXID(txid), end);
}

static void
test_full(void)
{
	char *tmp = path_of(1, ".tmp");

	commit(1, 9000);
	full(true);
	ok(pass() < 0, "the replica is full");
	full(false);
	ok(access(tmp, F_OK) != 0, "no temporary stays");
	ok(pass() == 0, "and is not any more");
	commit(2, 9000);
	capture_give_up(&p.c, "test");
	full(true);
	ok(pass() < 0, "the replica is full for a diff");
	full(false);
	ok(p.c.doubt, "there is still doubt");
	ok(pass() == 0, "and it is not full any more");
	free(tmp);
}

static void
add(uint32_t *a, uint32_t *b, const uint8_t *bytes, size_t n, bool big)
{
	for (; n > 0; bytes += 8, n -= 8) {
		*a += (big ? be32(bytes) : le32(bytes)) + *b;
		*b += (big ? be32(bytes + 4) : le32(bytes + 4)) + *a;
	}
}

static void
put_sum(uint8_t *at, uint32_t a, uint32_t b)
{
	put_be32(at, a);
	put_be32(at + 4, b);
}

/* The last frame of the WAL gets another page; its checksum is right. */
static void
forge(FILE *f)
{
	static uint8_t two[2 * FRAME_SIZE];
	uint8_t magic[4], *frame = two + FRAME_SIZE;
	uint32_t a = 0, b = 0;

	if (fread(magic, sizeof magic, 1, f) != 1 ||
	    fseek(f, -(long)sizeof two, SEEK_END) != 0 ||
	    fread(two, sizeof two, 1, f) != 1)
		die("cannot read the WAL");
	a = be32(two + 16);
	b = be32(two + 20);
	frame[FRAME_SIZE - 1] ^= 1;
	add(&a, &b, frame, 8, magic[3] & 1);
	add(&a, &b, frame + FRAME_SIZE - PAGE_SIZE, PAGE_SIZE, magic[3] & 1);
	put_sum(frame + 16, a, b);
	if (fseek(f, -FRAME_SIZE, SEEK_END) != 0 ||
	    fwrite(frame, FRAME_SIZE, 1, f) != 1 || fflush(f) != 0)
		die("cannot write the WAL");
}

/* The index is to be read from the WAL again. */
static void
forget_index(void)
{
	sqlite3_file *f;
	volatile void *shm;

	if (sqlite3_file_control(app, "main", SQLITE_FCNTL_FILE_POINTER,
	    &f) != SQLITE_OK ||
	    f->pMethods->xShmMap(f, 0, 32768, 0, &shm) != SQLITE_OK)
		die("no wal-index");
	memset((void *)(uintptr_t)shm, 0, 96);
}

/*
 * A transaction of page 1 and another, or page 1 again: the first of the next
 * generation, or after the one that was made here before.
 */
static void
transact(bool anew, uint32_t commit, uint32_t pgno)
{
	static uint8_t head[32], frame[FRAME_SIZE];
	static uint32_t a, b;
	FILE *f = fopen(db_wal_path(p.c.db), "r+");
	static long at;
	int i;

	if (f == NULL || fread(head, sizeof head, 1, f) != 1)
		die("cannot read the WAL");
	if (anew) {
		put_be32(head, 0x377f0683);
		put_be32(head + 16, be32(head + 16) + 1);
		a = b = 0;
		add(&a, &b, head, 24, true);
		put_sum(head + 24, a, b);
		rewind(f);
		fwrite(head, sizeof head, 1, f);
		at = sizeof head;
	}
	fseek(f, at, SEEK_SET);
	for (i = 0; i < 2; i++, at += FRAME_SIZE) {
		memset(frame, 7, sizeof frame);
		put_be32(frame, i == 0 ? 1 : pgno);
		put_be32(frame + 4, i == 0 ? 0 : commit);
		memcpy(frame + 8, head + 16, 8);
		if (be32(frame) == 1) {
			if (db_read_page(p.c.db, 1, frame + 24, &e) != 0)
				die("%s", e.text);
			put_be32(frame + 24 + 28, commit);
		}
		add(&a, &b, frame, 8, true);
		add(&a, &b, frame + 24, PAGE_SIZE, true);
		put_sum(frame + 16, a, b);
		fwrite(frame, sizeof frame, 1, f);
	}
	if (ferror(f) || fclose(f) != 0)
		die("cannot write the WAL");
	forget_index();
	ok(pass() == 0 && p.pages.commit == commit, "now %lu pages",
	    (unsigned long)commit);
}

static void
copy_all(void)
{
	bool complete;

	ok(pass() == 0 && checkpoint_free(&p.c, &complete, &e) == 0 &&
	    complete, "all is in the file");
}

/* No frame of the WAL holds the pages by which the database grows. */
static void
test_grown(void)
{
	uint32_t n = p.pages.commit;

	copy_all();
	transact(true, n + 4, n + 4);
	copy_all();
	transact(true, n + 5, 1);
}

/* None but one that comes before the position. */
static void
test_regrown(void)
{
	uint32_t n = p.pages.commit;

	copy_all();
	transact(true, n + 1, n + 1);
	transact(false, n, 1);
	transact(false, n + 1, 1);
}

static void
test_forged(void)
{
	FILE *f = fopen(db_wal_path(p.c.db), "r+");
	uint64_t txid = p.pages.txid;

	commit(1, 9000);
	forge(f);
	ok(pass() < 0 && p.pages.txid == txid,
	    "frames that are not those of the index are not published");
	rewind(f);
	forge(f);
	ok(pass() == 0, "those that are, are");
	fclose(f);
}

/* As many frames as before, in another generation. */
static void
test_generation(void)
{
	struct wal_index x;
	bool complete;
	int i;

	for (i = 0; i < 4; i++) {
		ok(checkpoint_free(&p.c, &complete, &e) == 0 && complete,
		    "a checkpoint");
		commit(1, 100);
		ok(db_index(p.c.db, &x, &e) == 1 && x.mx_frame < 10,
		    "the next writer begins the WAL anew");
		ok(pass() == 0, "a pass");
	}
}

/* The pins were let go of, and the WAL was restarted so often. */
static void
test_restarts(int restarts, int first, int later, bool known)
{
	int i;

	commit(1, 9000);
	ok(pass() == 0, "a pass");
	db_unpin_all(p.c.db);
	commit(2, first);
	for (i = 0; i < restarts; i++) {
		ok(left(SQLITE_CHECKPOINT_RESTART) == 0, "restarted");
		commit(3 + i, later);
	}
	ok(db_pin(p.c.db, &e) == 0 && capture_rejoin(&p.c, &e) == 0,
	    "pinned again");
	ok(p.c.doubt != known, "%s", known ? "what has changed is known" :
	    "what has changed is not known");
	ok(pass() == 0, "a pass");
}

static void
test_fsync(void)
{
	commit(1, 9000);
	fail_file = true;
	ok(pass() < 0, "a file that cannot be synced is not published");
	fail_file = false;
	ok(pass() == 0, "it is written again");
}

static void
test_spent(void)
{
	uint64_t txid = p.pages.txid;
	struct store_list l;

	commit(1, 9000);
	fail_dir = 1;
	ok(pass() < 0, "the directory cannot be synced after the rename");
	ok(pass() == 0 && p.pages.txid == txid + 2, "the TXID is spent");
	if (store_list(p.cf.root, 0, &l, &e) != 0)
		die("%s", e.text);
	ok(l.n == txid + 2 && l.file[l.n - 1].size == l.file[l.n - 2].size,
	    "its pages are sent again");
	ok(l.file[l.n - 1].h.pre_fingerprint == 0,
	    "it is not said what they build upon");
	store_list_free(&l);
}

static void
test_names(void)
{
	char *path = path_of(1, ""), *tmp = path_of(1, ".tmp");
	struct stat st;
	FILE *f;

	commit(1, 9000);
	take_over = tmp;
	ok(pass() < 0, "a temporary that was taken over is not published");
	if ((f = fopen(path, "w")) == NULL || fputs("x", f) < 0 ||
	    fclose(f) != 0)
		die("%s: cannot be made", path);
	ok(pass() < 0 && stat(path, &st) == 0 && st.st_size == 1,
	    "a file of that name is not replaced");
	unlink(path);
	ok(pass() == 0, "without them it is published");
	free(path);
	free(tmp);
}

static void
test_rebase(void)
{
	uint64_t txid = p.pages.txid;

	fail_dir = 4;
	ok(pair_rebase(&p, "test", &e) < 0, "a rebase that is cut short");
	fail_dir = 0;
	ok(pair_rebase(&p, "test", &e) == 0 && p.pages.txid == txid + 2,
	    "is done again at the next TXID");
}

/* A page of the file is not what was replicated. */
static void
test_audit(void)
{
	struct audit a = { 0 };
	bool done = false;
	char *cmd = xasprintf("printf overwritten | dd of='%s' bs=1 "
	    "seek=8500 conv=notrunc 2>/dev/null", p.cf.db_path);

	copy_all();
	ok(system(cmd) == 0, "it is overwritten");
	while (!done && audit_slice(&a, &p.c, &done, &e) == 0)
		continue;
	ok(done && a.differed == 1, "the audit finds the page");
	free(cmd);
}

/* A comparison that finds nothing is not stuck: job.c would end its pins. */
static void
test_steps(void)
{
	unsigned long before = atomic_load(&p.steps);
	uint64_t txid = p.pages.txid;

	capture_give_up(&p.c, "test");
	ok(pass() == 0 && p.pages.txid == txid, "nothing differs");
	ok(atomic_load(&p.steps) - before >= p.pages.commit,
	    "each page that was looked at is a step");
}

static void
choose(const char *what)
{
	if (strcmp(what, "tail") == 0)
		test_tail(100000, true);
	else if (strcmp(what, "none") == 0)
		test_tail(0, true);
	else if (strcmp(what, "long") == 0)
		test_tail(2000000, false);
	else if (strcmp(what, "pin") == 0)
		test_pin();
	else if (strcmp(what, "full") == 0)
		test_full();
	else if (strcmp(what, "generation") == 0)
		test_generation();
	else if (strcmp(what, "grown") == 0)
		test_grown();
	else if (strcmp(what, "regrown") == 0)
		test_regrown();
	else if (strcmp(what, "forged") == 0)
		test_forged();
	else if (strcmp(what, "fsync") == 0)
		test_fsync();
	else if (strcmp(what, "spent") == 0)
		test_spent();
	else if (strcmp(what, "names") == 0)
		test_names();
	else if (strcmp(what, "rebase") == 0)
		test_rebase();
	else if (strcmp(what, "audit") == 0)
		test_audit();
	else if (strcmp(what, "steps") == 0)
		test_steps();
	else if (strcmp(what, "once") == 0)
		test_restarts(1, 300, 300, true);
	else if (strcmp(what, "twice") == 0)
		test_restarts(2, 300, 300, false);
	else if (strcmp(what, "over") == 0)
		test_restarts(1, 300, 90000, false);
}

int
main(int argc, char **argv)
{
	struct pair_config cf;

	if (argc != 4 || sqlite3_open(argv[2], &app) != SQLITE_OK)
		return 1;
	run("PRAGMA page_size=1024; PRAGMA journal_mode=WAL;"
	    "PRAGMA wal_autocheckpoint=0;"
	    "CREATE TABLE t(id INTEGER PRIMARY KEY, b)");
	commit(9, 20000);
	memset(&cf, 0, sizeof cf);
	cf.db_path = argv[2];
	cf.root = argv[3];
	cf.levels = 3;
	pair_init(&p, &cf, NULL);
	if (sqlite3_auto_extension((void (*)(void))watch) != SQLITE_OK)
		die("no extension");
	if (pair_open(&p, false, &e) != 0)
		die("%s", e.text);
	choose(argv[1]);
	pair_free(&p);
	sqlite3_close(app);
	return done_testing();
}
