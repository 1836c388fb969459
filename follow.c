/* SPDX-License-Identifier: ISC */
/*
 * A warm standby.
 *
 *	OUT			the database; its header is stamped (standby.h)
 *	OUT-txid		the state it has: 16 hex digits and a newline
 *	OUT-txid.tmp		the state it is about to have
 *	OUT.new, OUT.new.tmp	the first restore, before it is OUT
 *
 * First: OUT.new is restored and stamped, OUT-txid written, OUT.new renamed to
 * OUT.  So OUT is never without OUT-txid, and without OUT all else is rubbish.
 * Then for each change: OUT-txid.tmp written and synced; the change, which
 * commits by removing its journal (standby.c); OUT-txid.tmp renamed to
 * OUT-txid.  A crash in between leaves a database at one of the two TXIDs.  The
 * change counter in its header tells which, as it is a hash of the state.  If
 * it is of neither, somebody else wrote (or Litestream followed here before):
 * then all pages are compared with the replica, and those that differ are
 * written, in one change.  The same heals a standby whose fingerprint is found
 * to be wrong, and one that followed another history.
 *
 * New files come in order at level 0, so the name of the next is known: it is
 * tried at each wake (inotify, and every interval for file systems that report
 * nothing), without listing anything.  Where it is not there although
 * directories changed, everything is listed and planned: then the way goes
 * over higher levels.  Damage is waited out, since the replicator heals it, and
 * reported; so is a replica that is not there.  A gap that stays is the end: a
 * standby that silently grows old is worse than one that fails.
 */
#include <sys/select.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply.h"
#include "disk.h"
#include "follow.h"
#include "plan.h"
#include "standby.h"
#include "store.h"
#include "watch.h"

#define DEFAULT_INTERVAL_MS 1000
#define TXID_DIGITS 16
#define PROBE_MAX 64		/* names tried before a listing is cheaper */
#define MAX_LISTINGS 10		/* while files vanish under us */
#define RACY_MS 2000		/* a directory's time may not tell changes */
#define PATIENCE_MS 30000	/* a copied replica may arrive out of order */
#define REPEAT_MS 60000		/* the same error is logged again */
#define RETRY_MAX_MS 30000	/* unless directories change */
#define MAX_DOUBLINGS 16

static volatile sig_atomic_t stop;

struct follow {
	const char *root, *out;
	char *sidecar, *next, *dir;
	struct disk_owner owner;
	int64_t interval_ms;
	struct apply ap;
	uint64_t noted;		/* what OUT-txid says */
	bool whole;		/* not known what OUT holds: compare it all */
	bool must_list;
	bool hopeless;		/* the error will hardly go away */
	bool started;		/* the first step is done */
	struct watch *watch;
	struct disk_stat watched[STORE_LEVELS], listed[STORE_LEVELS];
	int64_t again_ms;	/* when to list once more; 0: not */
	int failures;		/* in a row */
	int64_t failed_ms, retry_ms;	/* the first; when to try again */
	struct err said;
	int64_t said_ms;
};

static void
on_signal(int number)
{
	(void)number;
	stop = 1;
}

/* During the first restore a signal is the end, as of any restore. */
static void
catch_signals(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof sa);
	sa.sa_handler = on_signal;
	sa.sa_flags = SA_RESTART;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

/* OUT-txid */

/* 1; 0 if there is none; -1. */
static int
read_txid(const char *path, uint64_t *txid, struct err *e)
{
	char *s = NULL, *end;
	size_t n;

	if (disk_read_all(path, TXID_DIGITS + 1, &s, &n, e) != 0)
		return e->kind == ERR_ABSENT ? 0 : -1;
	*txid = strtoull(s, &end, 16);
	if (strspn(s, "0123456789abcdef") != TXID_DIGITS || *txid == 0 ||
	    (*end != '\0' && *end != '\n'))
		n = 0;
	free(s);
	return n >= TXID_DIGITS ? 1 : err_set(e, ERR_DAMAGED,
	    "%s: not a TXID", path);
}

static int
write_next(const struct follow *f, uint64_t txid, struct err *e)
{
	char text[TEXT_SIZE];
	int fd = disk_create(f->next, &f->owner, e), rc = -1;

	if (fd < 0)
		return -1;
	text_txid(text, txid);
	strcat(text, "\n");
	if (disk_write(fd, text, TXID_DIGITS + 1, f->next, e) == 0 &&
	    disk_sync(fd, f->next, e) == 0)
		rc = disk_close(&fd, f->next, e);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* After a change, also where that failed before. */
static int
take_next(struct follow *f, struct err *e)
{
	if (f->noted == f->ap.at.txid)
		return 0;
	if (access(f->next, F_OK) != 0 &&
	    write_next(f, f->ap.at.txid, e) != 0)
		return -1;
	if (disk_rename(f->next, f->sidecar, e) != 0 ||
	    disk_sync_dir(f->dir, e) != 0)
		return -1;
	f->noted = f->ap.at.txid;
	return 0;
}

/* The first restore */

/* What is known of the restored image, before it is stamped. */
static int
learn(struct follow *f, const uint8_t *page1, uint64_t txid, struct err *e)
{
	const struct ltx_header *h;
	struct store_list l;
	size_t i;

	if (store_list(f->root, -1, &l, e) != 0)
		return -1;
	for (i = 0; i < l.n; i++) {
		h = &l.file[i].h;
		if (l.file[i].bad || h->max_txid != txid)
			continue;
		f->ap.at = (struct apply_state){ .txid = txid,
		    .salt = h->salt, .post = h->post_fingerprint,
		    .counter = apply_counter(h), .known = h->salt != 0 };
		if (h->salt != 0)
			f->ap.at.page1 = ltx_page_hash(h->salt, 1, page1,
			    h->page_size);
		f->ap.at.rest = f->ap.at.post ^ f->ap.at.page1;
		break;
	}
	store_list_free(&l);
	return 0;
}

/* Nobody reads it yet, so it is simply written. */
static int
stamp(struct follow *f, const char *path, const struct restore_result *res,
    struct err *e)
{
	uint8_t *page = xmalloc(res->page_size);
	int fd, rc = -1;

	fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || pread(fd, page, res->page_size, 0) !=
	    (ssize_t)res->page_size) {
		err_sys(e, path, "read");
		goto out;
	}
	if (learn(f, page, res->txid, e) != 0)
		goto out;
	standby_stamp(page, f->ap.at.counter);
	if (disk_pwrite(fd, page, STANDBY_HEADER_SIZE, 0, path, e) == 0 &&
	    disk_sync(fd, path, e) == 0)
		rc = disk_close(&fd, path, e);
out:
	if (fd >= 0)
		close(fd);
	free(page);
	return rc;
}

/* What SQLite would play into the new database. */
static int
check_absent(const char *out, struct err *e)
{
	static const char *const suffix[] = { "-wal", "-journal", "" };
	size_t i;
	char *path;
	int there = 0;

	for (i = 0; i < sizeof suffix / sizeof *suffix && there == 0; i++) {
		path = xasprintf("%s%s", out, suffix[i]);
		there = disk_exists(path, e);
		if (there == 1)
			err_set(e, ERR_USAGE, "cannot restore, %s already "
			    "exists: %s", *suffix[i] != '\0' ? "SQLite sidecar "
			    "path" : "output path", path);
		free(path);
	}
	return there != 0 ? -1 : 0;
}

static int
seed(struct follow *f, const struct restore_args *a,
    struct restore_result *res, struct err *e)
{
	struct restore_args ra = *a;
	char *new = xasprintf("%s.new", f->out);
	bool made = false;
	struct err ignored;
	struct store_list l;
	int rc = -1;

	if (check_absent(f->out, e) != 0 ||
	    store_list(f->root, -1, &l, e) != 0)
		goto out;
	ra.out = new;
	ra.txid = store_max_txid(&l);	/* never data of Litestream 0.3 */
	ra.has_time = false;
	ra.force = true;
	store_list_free(&l);
	if (ra.txid == 0) {
		err_set(e, ERR_ABSENT, "no matching backup files available");
		goto out;
	}
	made = true;
	if (restore_run(&ra, res, e) != 0)
		goto out;
	catch_signals();
	if (stamp(f, new, res, e) != 0 ||
	    disk_owner_of(new, &f->owner, e) != 0 ||
	    write_next(f, res->txid, e) != 0 ||
	    disk_rename(f->next, f->sidecar, e) != 0 ||
	    disk_sync_dir(f->dir, e) != 0 || check_absent(f->out, e) != 0 ||
	    disk_rename(new, f->out, e) != 0)
		goto out;
	rc = disk_sync_dir(f->dir, e);
out:
	if (rc != 0 && made) {		/* rubbish, if OUT is not there */
		disk_unlink(new, &ignored);
		disk_unlink(f->next, &ignored);
	}
	free(new);
	return rc;
}

/* Where to continue */

static int
refuse_pruned(struct follow *f, uint64_t first, struct err *e)
{
	f->hopeless = true;
	return err_set(e, ERR_ABSENT, "cannot resume follow mode: saved TXID "
	    "%s is behind the earliest snapshot (min TXID %s); replica history "
	    "has been pruned -- delete %s and %s-txid to re-restore",
	    TXID(f->ap.at.txid), TXID(first), f->out, f->out);
}

static int
refuse_ahead(struct follow *f, uint64_t last, struct err *e)
{
	f->hopeless = true;
	return err_set(e, ERR_FOREIGN, "cannot resume follow mode: saved TXID "
	    "%s is ahead of latest snapshot (max TXID %s); delete %s and "
	    "%s-txid to re-restore", TXID(f->ap.at.txid), TXID(last), f->out,
	    f->out);
}

/* Whether the standby is at txid: a file that ends there gives its counter. */
static bool
stands_at(struct follow *f, const struct store_list *l, uint64_t txid,
    uint32_t counter)
{
	const struct ltx_header *h;
	size_t i;

	if (f->ap.at.known && f->ap.at.txid == txid &&
	    f->ap.at.counter == counter)
		return true;	/* just restored */
	for (i = 0; i < l->n; i++) {
		h = &l->file[i].h;
		if (l->file[i].bad || h->max_txid != txid ||
		    apply_counter(h) != counter)
			continue;
		f->ap.at = (struct apply_state){ .txid = txid,
		    .salt = h->salt, .post = h->post_fingerprint,
		    .counter = counter };
		return true;
	}
	return false;
}

/* OUT-txid, OUT-txid.tmp and the header of OUT: the order of a change. */
static int
locate(struct follow *f, struct err *e)
{
	struct standby_state st;
	struct store_list l;
	uint64_t next = 0;
	struct err ignored;
	int rc = 0;

	if (standby_begin(f->ap.db, &st, e) != 0 ||
	    standby_end(f->ap.db, e) != 0 ||
	    store_list(f->root, -1, &l, e) != 0)
		return -1;
	f->ap.at.txid = f->noted;
	if (stands_at(f, &l, f->noted, st.counter))
		rc = disk_unlink(f->next, e);	/* what was not done */
	else if (read_txid(f->next, &next, &ignored) != 1 ||
	    !stands_at(f, &l, next, st.counter)) {
		f->whole = true;
		log_line(LOG_WARN, "the standby is not as it was left, or the "
		    "replica is not: comparing all of it", "output", f->out,
		    NULL);
	}
	store_list_free(&l);
	return f->ap.at.txid == f->noted ? rc : take_next(f, e);
}

static int
resume(struct follow *f, struct err *e)
{
	int rc = read_txid(f->sidecar, &f->noted, e);

	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_set(e, ERR_USAGE, "cannot resume follow mode: "
		    "database exists but no -txid file found; delete the "
		    "database to re-restore: %s", f->out);
	standby_close(f->ap.db);
	f->ap.db = NULL;
	if (disk_owner_of(f->out, &f->owner, e) != 0 ||
	    standby_open(&f->ap.db, f->out, e) != 0)
		return -1;
	return locate(f, e);
}

/* New files */

/* A step to the end of the last file; 1 or -1. */
static int
apply(struct follow *f, const struct store_file *file, size_t n,
    size_t *bad, struct err *e)
{
	uint64_t from = f->ap.at.txid, to = file[n - 1].max_txid;

	if (write_next(f, to, e) != 0)
		return -1;
	if (apply_files(&f->ap, file, n, f->whole, bad, e) != 0) {
		if (e->kind == ERR_FOREIGN) {
			log_line(LOG_WARN, "comparing all of the standby",
			    "output", f->out, "reason", e->text, NULL);
			f->whole = f->must_list = true;
		}
		return -1;
	}
	f->whole = false;
	if (take_next(f, e) != 0)
		return -1;
	log_line(LOG_INFO, "follow: applied updates", "from_txid", TXID(from),
	    "to_txid", TXID(to), NULL);
	return 1;
}

/* The next files of level 0 by their names: 1 applied; 0 none; -1. */
static int
probe(struct follow *f, struct err *e)
{
	struct store_file file[PROBE_MAX];
	uint64_t txid = f->ap.at.txid;
	struct stat st;
	size_t n, bad;
	char *path;
	bool there = true;

	for (n = 0; n < PROBE_MAX; n++) {
		memset(&file[n], 0, sizeof file[n]);
		file[n].min_txid = file[n].max_txid = ++txid;
		path = store_path(f->root, &file[n]);
		there = stat(path, &st) == 0;
		free(path);
		if (!there)
			break;
		file[n].size = (uint64_t)st.st_size;
	}
	if (n == 0 || n == PROBE_MAX) {
		f->must_list = f->must_list || n > 0;
		return 0;
	}
	return apply(f, file, n, &bad, e);
}

/* The good file that leads furthest from txid, or l->n. */
static size_t
furthest(const struct store_list *l, uint64_t txid)
{
	size_t i, best = l->n;

	for (i = 0; i < l->n; i++)
		if (!l->file[i].bad && l->file[i].min_txid <= txid + 1 &&
		    l->file[i].max_txid > (best < l->n ?
		    l->file[best].max_txid : txid))
			best = i;
	return best;
}

/* No file leads on, although there are later TXIDs: e as the plan says it, if
 * that names damage. */
static int
explain_gap(struct follow *f, const struct store_list *l, struct err *e)
{
	uint64_t first = 0;
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (l->file[i].max_txid <= f->ap.at.txid)
			continue;
		if (l->file[i].bad)
			return -1;
		if (first == 0 || l->file[i].min_txid < first)
			first = l->file[i].min_txid;
	}
	return first != 0 ? refuse_pruned(f, first, e) : -1;
}

/*
 * The chain to the newest state, or where there is none, a file that leads on:
 * what comes before a gap is a state, too.
 */
static int
make_chain(struct follow *f, const struct store_list *l, struct plan *p,
    struct err *e)
{
	uint64_t max = store_max_txid(l);
	size_t i;

	memset(p, 0, sizeof *p);
	if (l->n > 0 && max < f->ap.at.txid)
		return refuse_ahead(f, max, e);
	if (plan_make(l, f->whole ? 0 : f->ap.at.txid, 0, p, e) == 0)
		return 0;
	if (l->n == 0)
		return -1;
	i = f->whole ? l->n : furthest(l, f->ap.at.txid);
	if (i == l->n)
		return explain_gap(f, l, e);
	p->file = xmalloc(sizeof *p->file);
	p->file[0] = i;
	p->n = 1;
	return 0;
}

/* As much of the chain as can be open at once.  A file that turns out damaged
 * is marked so: then *again. */
static int
apply_plan(struct follow *f, struct store_list *l, const struct plan *p,
    bool *again, struct err *e)
{
	size_t i, n = p->n < APPLY_MAX_FILES ? p->n : APPLY_MAX_FILES, bad;
	struct store_file *file;
	int rc;

	if (n == 0)
		return 0;
	file = xmalloc(n * sizeof *file);
	for (i = 0; i < n; i++)
		file[i] = l->file[p->file[i]];
	rc = apply(f, file, n, &bad, e);
	*again = rc < 0 && bad < n;
	if (*again) {
		l->file[p->file[bad]].bad = true;
		l->first_bad = *e;
	}
	free(file);
	return rc;
}

/* One listing, and plans until one can be applied: 1; 0 nothing new; -1. */
static int
list_and_apply(struct follow *f, struct err *e)
{
	struct store_list l;
	struct plan p;
	bool again;
	int rc;

	if (store_list(f->root, -1, &l, e) != 0)
		return -1;
	do {
		again = false;
		rc = make_chain(f, &l, &p, e);
		if (rc == 0)
			rc = apply_plan(f, &l, &p, &again, e);
		plan_free(&p);
	} while (again);
	store_list_free(&l);
	return rc;
}

/* When to look */

static bool
level_stat(const struct follow *f, int level, struct disk_stat *s)
{
	char *path = xasprintf("%s/ltx/%d", f->root, level);
	struct err ignored;
	bool there = disk_stat(path, s, &ignored) == 0;

	if (!there)
		memset(s, 0, sizeof *s);
	free(path);
	return there;
}

/* Watches the directories that are new. */
static void
watch_levels(struct follow *f)
{
	struct disk_stat s;
	char *path;
	int i;

	for (i = 0; i < STORE_LEVELS; i++) {
		if (!level_stat(f, i, &s) || (s.dev == f->watched[i].dev &&
		    s.ino == f->watched[i].ino))
			continue;
		if (f->watched[i].ino != 0)	/* another history, perhaps */
			f->whole = true;
		path = xasprintf("%s/ltx/%d", f->root, i);
		watch_drop(f->watch, (size_t)i);
		watch_add(f->watch, path, WATCH_NAMES, NULL,
		    (size_t)i);
		free(path);
		f->watched[i] = s;
		f->must_list = true;
	}
}

/*
 * Whether directories changed since they were listed.  A change within the
 * granularity of their times would not show: what was young then is listed
 * once more.
 */
static bool
list_is_due(struct follow *f)
{
	struct disk_stat s;
	int i;

	for (i = 0; i < STORE_LEVELS; i++) {
		level_stat(f, i, &s);
		if (!disk_stat_equal(&s, &f->listed[i]))
			return true;
	}
	return f->again_ms != 0 && time_mono_ms() >= f->again_ms;
}

/* Before a listing. */
static void
note_listing(struct follow *f)
{
	struct disk_stat s;
	bool changed = false;
	int i;

	for (i = 0; i < STORE_LEVELS; i++) {
		level_stat(f, i, &s);
		changed = changed || !disk_stat_equal(&s, &f->listed[i]);
		f->listed[i] = s;
	}
	f->again_ms = changed ? time_mono_ms() + RACY_MS : 0;
	f->must_list = false;
}

/* Applies what there is: 0, or -1 where something is in the way. */
static int
step(struct follow *f, bool tick, struct err *e)
{
	int rc, listings = 0;

	if (take_next(f, e) != 0)
		return -1;
	while (!stop) {
		rc = f->must_list || f->whole ? 0 : probe(f, e);
		if (rc == 1)
			continue;
		if (rc == 0 && !f->must_list && !f->whole &&
		    !(tick && list_is_due(f)))
			return 0;
		note_listing(f);
		rc = list_and_apply(f, e);
		if (rc == 0)
			return 0;
		if (rc < 0 && ((e->kind != ERR_ABSENT &&
		    e->kind != ERR_FOREIGN) || f->hopeless ||
		    ++listings == MAX_LISTINGS)) {
			f->must_list = true;
			return -1;
		}
	}
	return 0;
}

/* Errors go to the log and are tried again; -1: those that stay. */
static int
fail(struct follow *f, const struct err *e)
{
	int64_t now = time_mono_ms();
	struct err ignored;

	if (f->failures++ == 0)
		f->failed_ms = now;
	if (e->kind == ERR_LOCKED || standby_lost(f->ap.db,
	    &ignored) == 1)
		return -1;
	if (f->hopeless && (!f->started ||
	    now - f->failed_ms >= PATIENCE_MS))
		return -1;
	f->hopeless = false;
	f->retry_ms = now + (f->failures < MAX_DOUBLINGS ?
	    f->interval_ms << f->failures : RETRY_MAX_MS);
	if (f->retry_ms > now + RETRY_MAX_MS)
		f->retry_ms = now + RETRY_MAX_MS;
	if (strcmp(f->said.text, e->text) != 0 ||
	    now - f->said_ms >= REPEAT_MS) {
		log_line(LOG_ERROR, "follow: error applying updates", "error",
		    e->text, "consecutive_errors", I64(f->failures), NULL);
		f->said = *e;
		f->said_ms = now;
	}
	return 0;
}

/* Until something was published, the interval is over (true), or a signal. */
static bool
wait_for_files(struct follow *f, int64_t until)
{
	struct watch_event ev;
	struct timespec ts;
	sigset_t block, old;
	fd_set in;
	int64_t left = until - time_mono_ms();
	int fd = watch_fd(f->watch), n = 0;

	left = left > 0 ? left : 0;
	ts.tv_sec = (time_t)(left / 1000);
	ts.tv_nsec = (long)(left % 1000) * 1000000;
	FD_ZERO(&in);
	if (fd >= 0)
		FD_SET(fd, &in);
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &old);
	if (!stop)
		n = pselect(fd + 1, &in, NULL, NULL, &ts, &old);
	sigprocmask(SIG_SETMASK, &old, NULL);
	while (n > 0 && watch_next(f->watch, &ev) == 1)
		;
	return time_mono_ms() >= until;
}

/* After a failure only where something is new, or it is long ago. */
static bool
is_due(struct follow *f, bool tick)
{
	return f->failures == 0 || (tick && (list_is_due(f) ||
	    time_mono_ms() >= f->retry_ms));
}

static int
loop(struct follow *f, struct err *e)
{
	int64_t next = 0;
	bool tick = true;

	while (!stop) {
		if (tick) {
			next = time_mono_ms() + f->interval_ms;
			watch_levels(f);
		}
		if (is_due(f, tick)) {
			if (step(f, tick, e) == 0) {
				f->failures = 0;
				f->said.text[0] = '\0';
			} else if (!stop && fail(f, e) != 0)
				return -1;
			f->started = true;
		}
		tick = wait_for_files(f, next);
	}
	log_line(LOG_INFO, "follow mode stopped", NULL);
	return 0;
}

static int
enter(struct follow *f, const struct restore_args *a,
    struct restore_result *res, struct err *e)
{
	char text[TEXT_SIZE];
	bool there = access(f->out, F_OK) == 0;

	if (!there && seed(f, a, res, e) != 0)
		return -1;
	catch_signals();
	while (resume(f, e) != 0) {
		if (e->kind != ERR_BUSY || stop)
			return -1;
		log_line(LOG_WARN, "waiting for other processes", "reason",
		    e->text, NULL);
	}
	if (there)
		log_line(LOG_INFO, "resuming follow mode from crash recovery",
		    "txid", TXID(f->ap.at.txid), "output", f->out, NULL);
	snprintf(text, sizeof text, f->interval_ms % 1000 == 0 ?
	    "%" PRId64 "s" : "%" PRId64 "ms", f->interval_ms % 1000 == 0 ?
	    f->interval_ms / 1000 : f->interval_ms);
	log_line(LOG_INFO, "entering follow mode", "output", f->out, "txid",
	    TXID(f->ap.at.txid), "interval", text, NULL);
	return 0;
}

int
follow_run(const struct restore_args *a, int64_t interval_ms,
    struct restore_result *res, struct err *e)
{
	struct follow f = { .root = a->root, .out = a->out };
	int rc;

	memset(res, 0, sizeof *res);
	f.interval_ms = interval_ms > 0 ? interval_ms : DEFAULT_INTERVAL_MS;
	f.sidecar = xasprintf("%s-txid", a->out);
	f.next = xasprintf("%s-txid.tmp", a->out);
	f.dir = path_dir(a->out);
	f.ap.root = a->root;
	f.ap.stop = &stop;
	f.watch = watch_new();
	rc = enter(&f, a, res, e);
	if (rc == 0)
		rc = loop(&f, e);
	memset(res, 0, sizeof *res);
	res->txid = f.ap.at.txid;
	standby_close(f.ap.db);
	watch_free(f.watch);
	free(f.sidecar);
	free(f.next);
	free(f.dir);
	return rc;
}
