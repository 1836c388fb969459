/* SPDX-License-Identifier: ISC */
/*
 * The replicator of the schedule explorer: the modules themselves, with their
 * operations called as job.c and upkeep.c do.
 *
 * The linker wraps the calls between modules at which something else can come
 * in between (-Wl,--wrap): a point.  There it stops when asked to, says where
 * it is, and goes on when told.  Time passes only by sleeping, and nothing
 * sleeps; but what is saved is saved when the file's ctime is really past.
 */
#include <sys/stat.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../audit.h"
#include "../checkpoint.h"
#include "../image.h"
#include "../pair.h"
#include "../snapshot.h"
#include "../store.h"
#include "schedule.h"

#define SETTLED_MS 10000	/* what is past is long past */
#define NAP_NS 500000

static struct ours {
	int fd;
	struct ask q;
	struct ours_answer r;
	struct pair pair;
	struct audit audit;
	bool inited, in_pin, in_save, fail_publish;
	int passed;		/* points of the operation that count, */
	int counted;		/* and those since it was told to go on */
	int64_t slept;
	char root[256], path[256], scratch[256];
} w;

static void
describe(int what, const char *point, const struct err *e)
{
	struct capture *c = &w.pair.c;
	struct ours_answer *r = &w.r;

	r->what = what;
	r->kind = e != NULL ? (int32_t)e->kind : 0;
	snprintf(r->point, sizeof r->point, "%s", point);
	snprintf(r->text, sizeof r->text, "%.239s", e != NULL ? e->text : "");
	r->passed = w.passed;
	r->inited = w.inited;
	r->open = w.inited && c->db != NULL;
	r->failing = w.fail_publish;
	r->relieved = r->open && db_is_relieved(c->db);
	r->differed = (uint32_t)w.audit.differed;
	r->audit_next = w.audit.next;
	r->doubt = r->tail = r->intact = false;
	memset(&r->pos, 0, sizeof r->pos);
	memset(&r->table, 0, sizeof r->table);
	if (!w.inited)
		return;
	r->doubt = c->doubt;
	r->tail = c->tail != NULL;
	r->intact = c->intact.known;
	r->pos = c->pos;
	r->table = w.pair.pages.wal;
	r->commit = w.pair.pages.commit;
	r->txid = w.pair.pages.txid;
}

/* As the main thread does for one that is stuck. */
static bool
relieved(void)
{
	if (strcmp(w.q.op, "relieve") != 0)
		return false;
	if (w.pair.open != NULL)
		db_relieve(w.pair.open);
	return true;
}

/* A point; small ones count only if asked for. */
static void
at(const char *point, bool small)
{
	if (small && !w.q.fine)
		return;
	w.passed++;
	if (w.q.until == 0 || ++w.counted < w.q.until)
		return;
	do {
		describe(OURS_AT, point, NULL);
		w.counted = 0;
		if (!write_all(w.fd, &w.r, sizeof w.r) ||
		    !read_all(w.fd, &w.q, sizeof w.q))
			_exit(1);
	} while (relieved());
}

int __real_db_pin(struct db *db, struct err *e);
int __wrap_db_pin(struct db *db, struct err *e);
int
__wrap_db_pin(struct db *db, struct err *e)
{
	int rc;

	at("pin", false);
	w.in_pin = true;
	rc = __real_db_pin(db, e);
	w.in_pin = false;
	return rc;
}

void __real_db_unpin_old(struct db *db);
void __wrap_db_unpin_old(struct db *db);
void
__wrap_db_unpin_old(struct db *db)
{
	at("unpin", false);
	__real_db_unpin_old(db);
}

void __real_db_unpin_all(struct db *db);
void __wrap_db_unpin_all(struct db *db);
void
__wrap_db_unpin_all(struct db *db)
{
	at("unpin all", false);
	__real_db_unpin_all(db);
}

int __real_db_index(struct db *db, struct wal_index *x, struct err *e);
int __wrap_db_index(struct db *db, struct wal_index *x, struct err *e);
int
__wrap_db_index(struct db *db, struct wal_index *x, struct err *e)
{
	at("index", true);
	return __real_db_index(db, x, e);
}

int __real_db_checkpoint(struct db *db, bool *all, struct err *e);
int __wrap_db_checkpoint(struct db *db, bool *all, struct err *e);
int
__wrap_db_checkpoint(struct db *db, bool *all, struct err *e)
{
	struct wal_index before, after;
	struct err ignored;
	int rc;

	at("passive", false);
	rc = __real_db_index(db, &before, &ignored);
	if (__real_db_checkpoint(db, all, e) != 0)
		return -1;
	if (rc == 1 && __real_db_index(db, &after, &ignored) == 1 &&
	    after.backfill != before.backfill)
		stamp(w.path);
	return 0;
}

int __real_db_sync(struct db *db, struct err *e);
int __wrap_db_sync(struct db *db, struct err *e);
int
__wrap_db_sync(struct db *db, struct err *e)
{
	at("fsync", false);
	return __real_db_sync(db, e);
}

int __real_db_truncate_wal(struct db *db, bool *done, struct err *e);
int __wrap_db_truncate_wal(struct db *db, bool *done, struct err *e);
int
__wrap_db_truncate_wal(struct db *db, bool *done, struct err *e)
{
	at("empty", false);
	return __real_db_truncate_wal(db, done, e);
}

void __real_db_write_unlock(struct db *db);
void __wrap_db_write_unlock(struct db *db);
void
__wrap_db_write_unlock(struct db *db)
{
	at("unlock", false);
	__real_db_write_unlock(db);
}

int __real_db_wal(struct db *db, struct wal **wal, struct err *e);
int __wrap_db_wal(struct db *db, struct wal **wal, struct err *e);
int
__wrap_db_wal(struct db *db, struct wal **wal, struct err *e)
{
	at("frames", true);
	return __real_db_wal(db, wal, e);
}

int __real_db_check_size(struct db *db, uint32_t commit, uint32_t known,
    const struct wal_map *m, struct err *e);
int __wrap_db_check_size(struct db *db, uint32_t commit, uint32_t known,
    const struct wal_map *m, struct err *e);
int
__wrap_db_check_size(struct db *db, uint32_t commit, uint32_t known,
    const struct wal_map *m, struct err *e)
{
	at("pages", true);
	return __real_db_check_size(db, commit, known, m, e);
}

int __real_image_next(struct image *m, uint32_t *pgno, uint8_t *page,
    struct err *e);
int __wrap_image_next(struct image *m, uint32_t *pgno, uint8_t *page,
    struct err *e);
int
__wrap_image_next(struct image *m, uint32_t *pgno, uint8_t *page,
    struct err *e)
{
	if (m->next == 2)
		at("image", true);
	return __real_image_next(m, pgno, page, e);
}

int __real_store_publish(struct store_new *n, int64_t ms, bool *renamed,
    struct err *e);
int __wrap_store_publish(struct store_new *n, int64_t ms, bool *renamed,
    struct err *e);
int
__wrap_store_publish(struct store_new *n, int64_t ms, bool *renamed,
    struct err *e)
{
	at("publish", true);
	*renamed = false;
	if (w.fail_publish) {
		w.fail_publish = false;
		return err_set(e, ERR_FULL, "%s: no space left", n->path);
	}
	return __real_store_publish(n, ms, renamed, e);
}

int __real_pages_save(const struct pages *p, const char *path,
    const struct disk_owner *o, struct err *e);
int __wrap_pages_save(const struct pages *p, const char *path,
    const struct disk_owner *o, struct err *e);
int
__wrap_pages_save(const struct pages *p, const char *path,
    const struct disk_owner *o, struct err *e)
{
	int rc;

	at("save", true);
	rc = __real_pages_save(p, path, o, e);
	if (rc == 0) {
		w.r.saves++;
		w.r.saved = p->wal;
		w.r.saved_txid = p->txid;
		w.r.clean = p->clean;
		w.r.settled = p->settled;
	}
	return rc;
}

int __real_capture_diff(struct capture *c, struct err *e);
int __wrap_capture_diff(struct capture *c, struct err *e);
int
__wrap_capture_diff(struct capture *c, struct err *e)
{
	w.r.diffs++;
	return __real_capture_diff(c, e);
}

/*
 * A window is no reason to compare if the WAL was not restarted in it, or once,
 * with the frames that were consumed still in their place; unless what was
 * found cannot be published, since it may be overwritten before the next try.
 */
static bool
excuses(struct db *db, const struct wal_pos *p)
{
	struct disk_stat st;
	struct wal_index x;
	struct err ignored;

	if (p->frames == 0 || __real_db_index(db, &x, &ignored) != 1 ||
	    disk_stat(db_wal_path(db), &st, &ignored) != 0 ||
	    st.size < wal_size(p->frames, SCHEDULE_PAGE))
		return true;
	return (x.salt1 != p->salt1 || x.salt2 != p->salt2) &&
	    (x.salt1 != p->salt1 + 1 || x.mx_frame >= p->frames);
}

int __real_capture_rejoin(struct capture *c, struct err *e);
int __wrap_capture_rejoin(struct capture *c, struct err *e);
int
__wrap_capture_rejoin(struct capture *c, struct err *e)
{
	struct wal_pos p = c->pos;
	bool doubt = c->doubt;
	int rc = __real_capture_rejoin(c, e);

	w.r.excuses += doubt || rc != 0 || excuses(c->db, &p);
	return rc;
}

int __real_snapshot_rebase(struct emit *em, struct db *db, int levels,
    struct wal_pos *pos, struct err *e);
int __wrap_snapshot_rebase(struct emit *em, struct db *db, int levels,
    struct wal_pos *pos, struct err *e);
int
__wrap_snapshot_rebase(struct emit *em, struct db *db, int levels,
    struct wal_pos *pos, struct err *e)
{
	w.r.rebases++;
	return __real_snapshot_rebase(em, db, levels, pos, e);
}

void __wrap_sleep_ms(int64_t ms);
void
__wrap_sleep_ms(int64_t ms)
{
	if (!w.in_pin)
		at("sleep", false);
	w.slept += ms * 500;
}

int64_t __wrap_time_mono_ms(void);
int64_t
__wrap_time_mono_ms(void)
{
	return w.slept;
}

/* Until a change of the database would have another ctime. */
static void
let_clock_tick(void)
{
	const struct timespec nap = { 0, NAP_NS };
	struct disk_stat db, now;
	struct err e;
	int fd;

	do {
		fd = open(w.scratch, O_CREAT | O_TRUNC | O_WRONLY, 0600);
		if (fd < 0 || write(fd, "", 1) != 1 || close(fd) != 0 ||
		    disk_stat(w.scratch, &now, &e) != 0 ||
		    disk_stat(w.path, &db, &e) != 0)
			_exit(1);
		if (now.ctime_ns <= db.ctime_ns)
			nanosleep(&nap, NULL);
	} while (now.ctime_ns <= db.ctime_ns);
}

int64_t __real_time_wall_ms(void);
int64_t __wrap_time_wall_ms(void);
int64_t
__wrap_time_wall_ms(void)
{
	if (w.in_save)
		let_clock_tick();
	return __real_time_wall_ms() + (w.in_save ? SETTLED_MS : 0);
}

static void
save(void)
{
	w.in_save = true;
	pair_save(&w.pair);
	w.in_save = false;
}

static int
start(struct err *e)
{
	struct pair_config cf;

	if (!w.inited) {
		memset(&cf, 0, sizeof cf);
		cf.db_path = w.path;
		cf.root = w.root;
		pair_init(&w.pair, &cf, NULL);
		w.inited = true;
	}
	memset(&w.audit, 0, sizeof w.audit);
	if (pair_open(&w.pair, false, e) == 0)
		return 0;
	pair_close(&w.pair);
	return -1;
}

static void
reset(void)
{
	if (w.inited)
		pair_free(&w.pair);
	w.inited = w.fail_publish = false;
	memset(&w.r, 0, sizeof w.r);
	memset(&w.audit, 0, sizeof w.audit);
}

/* As job.c's finish(), then the process ends. */
static int
stop(struct err *e)
{
	struct capture *c = &w.pair.c;
	bool found;

	if (capture_last_pass(c, &found, e) != 0)
		return -1;
	if (checkpoint_free(c, &found, e) == 0)
		checkpoint_truncate(c, &found, e);
	save();
	pair_free(&w.pair);
	w.inited = w.fail_publish = false;
	return 0;
}

static int
act(const char *op, struct err *e)
{
	struct capture *c = &w.pair.c;
	bool done;

	if (strcmp(op, "start") == 0)
		return start(e);
	if (strcmp(op, "reopen") == 0) {
		pair_close(&w.pair);
		return start(e);
	}
	if (strcmp(op, "sync") == 0)
		return capture_pass(c, &w.r.found, e);
	if (strcmp(op, "free") == 0)
		return checkpoint_free(c, &done, e);
	if (strcmp(op, "window") == 0)
		return checkpoint_window(c, &done, e);
	if (strcmp(op, "locked") == 0)
		return checkpoint_locked(c, &done, e);
	if (strcmp(op, "empty") == 0)
		return checkpoint_truncate(c, &done, e);
	if (strcmp(op, "letgo") == 0)
		return checkpoint_let_go(c, e);
	if (strcmp(op, "audit") == 0)
		return audit_slice(&w.audit, c, &done, e);
	if (strcmp(op, "stop") == 0)
		return stop(e);
	if (strcmp(op, "save") == 0)
		save();
	else if (strcmp(op, "nospace") == 0)
		w.fail_publish = true;
	else if (strcmp(op, "reset") == 0)
		reset();
	return 0;
}

void
ours_serve(int fd, const char *dir)
{
	struct err e;
	int rc;

	log_set_level("error");
	log_to_stderr();
	w.fd = fd;
	snprintf(w.path, sizeof w.path, "%s/a.db", dir);
	snprintf(w.root, sizeof w.root, "%s/replica", dir);
	snprintf(w.scratch, sizeof w.scratch, "%s/scratch", dir);
	while (read_all(fd, &w.q, sizeof w.q)) {
		w.passed = w.counted = 0;
		rc = act(w.q.op, &e);
		describe(rc == 0 ? OURS_DONE : OURS_FAILED, "",
		    rc == 0 ? NULL : &e);
		if (!write_all(fd, &w.r, sizeof w.r))
			break;
	}
}
