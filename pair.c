/* SPDX-License-Identifier: ISC */
/*
 * A database and its replica, while they are open.
 *
 * Opening goes: database, meta directory and its lock, saved table, replica
 * root and its lock, table brought to where the replica ends, identity; nothing
 * of a database that is refused is changed up to here.  Then WAL mode, pin, and
 * append, compare or rebase, until the newest commit is in the replica.
 *
 * A root that is missing is made anew only if it was deleted, not if its file
 * system is not mounted: its parent must be where the root was.  While we run,
 * device and inode of both are held; between runs, the file system that the
 * root was on is in the saved table.
 */
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint.h"
#include "claims.h"
#include "hooks.h"
#include "pair.h"
#include "plan.h"
#include "resume.h"
#include "snapshot.h"

#define SETTLED_NS 2000000000	/* age of a ctime that can be trusted */
#define NS_PER_MS 1000000

void
pair_init(struct pair *p, const struct pair_config *cf,
    const atomic_bool *cancel)
{
	memset(p, 0, sizeof *p);
	p->cf = *cf;
	p->cancel = cancel;
	p->meta_lock = p->root_lock = -1;
	p->meta = cf->meta != NULL ? xstrdup(cf->meta) :
	    state_meta(cf->db_path);
	p->pages_path = xasprintf("%s/pages", p->meta);
	pages_init(&p->pages);
	pthread_mutex_init(&p->mutex, NULL);
	state_init(&p->state, p->meta);
	p->facts.pid = getpid();
	p->facts.started_ms = p->facts.since_ms = time_wall_ms();
	boot_id(p->facts.boot);
	if (strlen(cf->root) < sizeof p->facts.root)
		snprintf(p->facts.root, sizeof p->facts.root, "%s", cf->root);
	state_set(&p->state, &p->facts, false);
}

/* Shows the database to other threads, or hides it. */
static void
show(struct pair *p, struct db *db)
{
	pthread_mutex_lock(&p->mutex);
	p->open = db;
	pthread_mutex_unlock(&p->mutex);
}

void
pair_relieve(struct pair *p)
{
	struct state_facts f;
	uint64_t size;

	pthread_mutex_lock(&p->mutex);
	if (p->open != NULL && checkpoint_must_let_go(p->open, &size) &&
	    db_relieve(p->open)) {
		log_line(LOG_ERROR, "replica does not answer, letting go of "
		    "the WAL, which is too long: points in time will be "
		    "missing", "path", p->cf.db_path, "size", I64(size), NULL);
		state_get(&p->state, &f);
		f.known = false;
		state_note(&p->state, &f);
	}
	pthread_mutex_unlock(&p->mutex);
	state_flush(&p->state, false);
}

void
pair_close(struct pair *p)
{
	capture_give_up(&p->c, "reopened");
	p->serving = false;
	show(p, NULL);
	db_close(p->c.db);
	p->c.db = NULL;
	if (p->claimed)
		claims_drop(p->cf.claims, p->cf.db_path);
	p->claimed = false;
}

void
pair_unlock(struct pair *p)
{
	if (p->meta_lock >= 0)
		close(p->meta_lock);
	if (p->root_lock >= 0)
		close(p->root_lock);
	p->meta_lock = p->root_lock = -1;
}

void
pair_free(struct pair *p)
{
	pair_close(p);
	pair_unlock(p);
	pages_free(&p->pages);
	state_free(&p->state);
	pthread_mutex_destroy(&p->mutex);
	free(p->pages_path);
	free(p->meta);
}

static bool
same_inode(const struct disk_stat *a, const struct disk_stat *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

/*
 * A root that is not there: deleted, if its parent is on the file system where
 * it was (then it is made anew), else not mounted.
 */
static int
root_missing(struct pair *p, const struct disk_owner *o, struct err *e)
{
	uint64_t dev, fsid;
	char *parent = path_dir(p->cf.root);
	struct disk_stat st;
	int rc = 0;

	if (p->root.ino != 0) {		/* seen by this process */
		if (disk_stat(parent, &st, e) != 0 ||
		    !same_inode(&st, &p->parent))
			rc = err_set(e, ERR_AWAY, "%s: replica is not "
			    "mounted", p->cf.root);
		else
			p->root_deleted = true;
	} else if (p->pages.root_dev != 0) {
		if (resume_locate(parent, &dev, &fsid, e) != 0 ||
		    (dev != p->pages.root_dev &&
		    (fsid == 0 || fsid != p->pages.root_fsid)))
			rc = err_set(e, ERR_AWAY, "%s: replica is not "
			    "mounted", p->cf.root);
	}
	if (rc == 0) {
		if (p->root.ino != 0 || p->pages.root_dev != 0)
			log_line(LOG_WARN, "replica directory was deleted, "
			    "creating it", "path", p->cf.root, NULL);
		rc = disk_mkdirs(p->cf.root, o, e);
	}
	free(parent);
	return rc;
}

/* A root without files whose database we know is a bare mount point, unless its
 * file system is the one that the root was on. */
static int
root_bare(struct pair *p, struct err *e)
{
	uint64_t dev, fsid;
	struct store_list l;
	bool empty;

	if (p->root_deleted || p->pages.root_dev == 0 ||
	    p->pages.txid == 0)
		return 0;
	if (resume_locate(p->cf.root, &dev, &fsid, e) != 0)
		return -1;
	if (dev == p->pages.root_dev || (fsid != 0 &&
	    fsid == p->pages.root_fsid))
		return 0;
	if (store_list(p->cf.root, -1, &l, e) != 0)
		return -1;
	empty = l.n == 0;
	store_list_free(&l);
	if (!empty || p->cf.adopt)
		return 0;
	err_set(e, ERR_AWAY, "%s: empty, and on another file system than "
	    "before: not mounted?", p->cf.root);
	err_hint(e, "mount it, or use -adopt to begin a new replica there");
	return -1;
}

static int
lock_one(int *lock, const char *dir, const struct disk_owner *o,
    struct err *e)
{
	char *path;
	int rc;

	if (*lock >= 0)
		return 0;
	path = xasprintf("%s/.lock", dir);
	rc = disk_lock(path, o, lock, e);
	if (rc == 0 && *lock < 0)
		log_line(LOG_WARN, "no locks there: make sure that only one "
		    "process replicates", "path", path, NULL);
	free(path);
	return rc;
}

/* Nobody but root, us and the database's owner may say what the table holds. */
static int
check_meta(const struct pair *p, const struct disk_owner *o, struct err *e)
{
	struct stat st;

	if (lstat(p->meta, &st) != 0)
		return errno == ENOENT ? 0 : err_sys(e, p->meta, "stat");
	if (S_ISLNK(st.st_mode))
		return err_set(e, ERR_SYSTEM, "%s: is a symbolic link",
		    p->meta);
	if (st.st_uid == 0 || st.st_uid == geteuid() || st.st_uid == o->uid)
		return 0;
	err_set(e, ERR_SYSTEM, "%s: belongs to uid %ld, who is neither us nor "
	    "the owner of the database", p->meta, (long)st.st_uid);
	err_hint(e, "remove it: it is a cache");
	return -1;
}

/* Made and locked anew where somebody has removed it. */
static int
open_meta(struct pair *p, const struct disk_owner *o, struct err *e)
{
	char *path = xasprintf("%s/.lock", p->meta);
	struct stat ours, there;

	if (p->meta_lock >= 0 && (stat(path, &there) != 0 ||
	    fstat(p->meta_lock, &ours) != 0 || ours.st_dev != there.st_dev ||
	    ours.st_ino != there.st_ino)) {
		close(p->meta_lock);
		p->meta_lock = -1;
	}
	free(path);
	if (check_meta(p, o, e) != 0 || disk_mkdirs(p->meta, o, e) != 0 ||
	    check_meta(p, o, e) != 0)
		return -1;
	return lock_one(&p->meta_lock, p->meta, o, e);
}

/* Locks and replica root. */
static int
open_root(struct pair *p, struct disk_owner *o, struct err *e)
{
	struct disk_stat st;
	struct err absent;
	char *parent;
	int rc;

	if (open_meta(p, o, e) != 0)
		return -1;
	state_claim(&p->state, o, &p->facts);
	if (!p->table_known) {
		if (disk_stat(p->cf.db_path, &st, e) != 0 ||
		    pages_load(&p->pages, p->pages_path, st.size, e) < 0)
			return -1;
		p->table_known = true;
	}
	if (disk_stat(p->cf.root, &st, &absent) != 0) {
		if (absent.kind != ERR_ABSENT) {
			*e = absent;
			return -1;
		}
		if (root_missing(p, o, e) != 0)
			return -1;
	} else if (root_bare(p, e) != 0)
		return -1;
	if (disk_stat(p->cf.root, &st, e) != 0)
		return -1;
	if (!same_inode(&st, &p->root) && p->root_lock >= 0) {
		p->root_deleted |= st.dev == p->root.dev;
		close(p->root_lock);
		p->root_lock = -1;
	}
	if (lock_one(&p->root_lock, p->cf.root, o, e) != 0)
		return -1;
	p->root = st;
	parent = path_dir(p->cf.root);
	rc = disk_stat(parent, &p->parent, e);
	free(parent);
	return rc;
}

/* A rollback-journal database, now that it is not refused. */
static int
switch_mode(struct pair *p, struct err *e)
{
	if (db_is_wal(p->c.db))
		return 0;
	if (db_switch_to_wal(p->c.db, e) != 0)
		return -1;
	log_line(LOG_INFO, "switched to WAL mode", "path", p->cf.db_path,
	    NULL);
	return 0;
}

/* Refuses a replica that has less than half of its pages from this database. */
static int
accept(struct pair *p, struct resume *r, struct err *e)
{
	uint32_t differ, total;
	int rc;

	if (r->rebase[0] != '\0') {
		err_set(e, ERR_FOREIGN, "%s: cannot be told to be the replica "
		    "of %s (%s)", p->cf.root, p->cf.db_path, r->rebase);
		err_hint(e, "-adopt if it is");
		return -1;
	}
	if (db_pin(p->c.db, e) != 0)
		return -1;
	rc = capture_count(&p->c, &differ, &total, e);
	db_unpin_all(p->c.db);
	if (rc != 0)
		return -1;
	if (differ >= (total + 1) / 2) {
		err_set(e, ERR_FOREIGN, "%s: is the replica of another "
		    "database: %lu of %lu pages differ", p->cf.root,
		    (unsigned long)differ, (unsigned long)total);
		err_hint(e, "use another directory, or -adopt to continue it "
		    "with this database");
		return -1;
	}
	log_line(LOG_INFO, "replica adopted", "path", p->cf.db_path,
	    "replica", p->cf.root, "pages", I64(total), "differ",
	    I64(differ), NULL);
	return 0;
}

/* Table, identity, and where the chain goes on. */
static int
open_chain(struct pair *p, struct resume *r, struct err *e)
{
	struct emit *em = &p->c.em;
	uint64_t txid = p->pages.txid;

	r->root = p->cf.root;
	r->db_path = p->cf.db_path;
	r->meta = p->meta;
	r->page_size = db_page_size(p->c.db);
	r->adopt = p->cf.adopt;
	r->ours = p->opened;
	if (resume_table(r, &p->pages, e) != 0 ||
	    resume_identity(r, &p->pages, e) != 0 ||
	    (r->stranger && accept(p, r, e) != 0) ||
	    resume_claim(r, &p->pages, &em->owner, e) != 0)
		return -1;
	if ((p->root_deleted || p->opened) && r->empty && txid != 0) {
		r->empty = false;	/* followers are at that TXID */
		r->next_txid = txid + 1;
		snprintf(r->rebase, sizeof r->rebase,
		    "replica directory was deleted");
	}
	p->root_deleted = false;
	em->next_txid = r->next_txid;
	return resume_locate(p->cf.root, &p->pages.root_dev,
	    &p->pages.root_fsid, e);
}

int
pair_rebase(struct pair *p, const char *why, struct err *e)
{
	struct emit *em = &p->c.em;

	capture_give_up(&p->c, why);	/* with what is not published yet */
	log_line(LOG_WARN, "full image", "path", p->cf.db_path, "reason", why,
	    "txid", TXID(em->next_txid), NULL);
	if (snapshot_rebase(em, p->c.db, p->cf.levels, &p->c.pos, e) != 0)
		return -1;
	p->c.doubt = false;
	return 0;
}

void
pair_log_sync(const struct pair *p, const char *reason, int64_t ms)
{
	bool snap = reason[0] != '\0';

	log_line(LOG_DEBUG, "sync", "db", p->cf.db_path, "txid",
	    TXID(p->pages.txid), "ms", I64(ms), "snap",
	    snap ? "true" : "false", snap ? "reason" : NULL, reason, NULL);
}

/*
 * The first pass: whatever it takes to have the newest commit in the replica.
 */
static int
first_pass(struct pair *p, struct resume *r, struct err *e)
{
	int64_t start = time_mono_ms();
	const char *reason;
	struct disk_stat st;
	bool found;

	p->c.em.db = p->c.db;
	p->c.em.steps = &p->steps;
	show(p, p->c.db);
	if (db_pin(p->c.db, e) != 0)
		return -1;
	if (r->rebase[0] != '\0') {
		if (pair_rebase(p, r->rebase, e) != 0)
			return -1;
	} else if (r->same_end) {
		if (disk_stat(p->cf.db_path, &st, e) != 0 ||
		    capture_prove(&p->c, &st, e) != 0)
			return -1;
	} else
		capture_give_up(&p->c, r->empty ? "first backup" :
		    "local state is not the replica's");
	p->pages.clean = false;		/* from here on */
	if (p->c.doubt) {
		log_line(p->comparing ? LOG_DEBUG : LOG_INFO, "comparing "
		    "database with replica", "path", p->cf.db_path, "reason",
		    p->c.reason, NULL);
		p->comparing = true;
	}
	reason = p->c.doubt ? p->c.reason : "";
	if (capture_pass(&p->c, &found, e) != 0)
		return -1;
	p->comparing = false;
	if (p->c.em.published > 0)
		pair_log_sync(p, reason, time_mono_ms() - start);
	if (r->empty && p->pages.txid != 0)
		return snapshot_link_first(&p->c.em, e);
	return 0;
}

/* The database, as nobody else of this process has it. */
static int
open_db(struct pair *p, struct err *e)
{
	struct disk_stat was, is;

	if (disk_owner_of(p->cf.db_path, &p->c.em.owner, e) != 0 ||
	    disk_stat(p->cf.db_path, &was, e) != 0 ||
	    claims_take(p->cf.claims, p->cf.db_path, &was, e) != 0)
		return -1;
	p->claimed = true;
	if (db_open(&p->c.db, p->cf.db_path, e) != 0 ||
	    disk_stat(p->cf.db_path, &is, e) != 0)
		return -1;
	return same_inode(&was, &is) ? 0 : err_set(e, ERR_BUSY, "%s: was "
	    "replaced while it was opened", p->cf.db_path);
}

int
pair_open(struct pair *p, bool once, struct err *e)
{
	int64_t start = time_mono_ms();
	struct resume r;
	struct capture *c = &p->c;

	memset(&r, 0, sizeof r);
	memset(c, 0, sizeof *c);
	c->em.root = p->cf.root;
	c->em.db_path = c->db_path = p->cf.db_path;
	c->em.pages = &p->pages;
	c->em.total = &p->state.count[STATE_FILES];
	c->cancel = p->cancel;
	if (open_db(p, e) != 0 ||
	    open_root(p, &c->em.owner, e) != 0 ||
	    open_chain(p, &r, e) != 0 ||
	    (!once && switch_mode(p, e) != 0) ||
	    first_pass(p, &r, e) != 0) {
		resume_free(&r);
		return -1;
	}
	resume_free(&r);
	p->opened = p->serving = true;
	p->facts.pass_ms = start;
	log_line(LOG_DEBUG, "initialized db", "path", p->cf.db_path, NULL);
	return 0;
}

void
pair_save(struct pair *p)
{
	struct pages *t = &p->pages;
	bool complete;
	struct err e;

	p->complete = false;
	if (p->c.doubt || p->c.tail != NULL || t->txid == 0)
		return;
	if (checkpoint_is_complete(&p->c, &complete, &e) != 0 ||
	    disk_stat(p->cf.db_path, &t->db, &e) != 0)
		goto bad;
	if (!db_is_pinned(p->c.db))
		return;		/* who knows what was committed meanwhile */
	p->complete = complete;
	t->settled = time_wall_ms() - t->db.ctime_ns / 1000000 >=
	    SETTLED_NS / 1000000;
	t->clean = complete;
	if (pages_save(t, p->pages_path, &p->c.em.owner, &e) == 0) {
		t->clean = false;	/* that was of this moment */
		return;
	}
bad:
	t->clean = false;
	log_line(LOG_WARN, "cannot save local state, the next start will "
	    "compare", "path", p->cf.db_path, "error", e.text, NULL);
}

int
pair_renew(struct pair *p, struct err *e)
{
	log_line(LOG_WARN, "local state was removed, creating it", "path",
	    p->meta, NULL);
	if (open_meta(p, &p->c.em.owner, e) != 0)
		return -1;
	pair_save(p);
	state_flush(&p->state, true);
	return 0;
}

/* The hook is run for the first of several. */
static void
post_error(struct pair *p, const char *text, uint64_t txid)
{
	if (!atomic_exchange(&p->failing, true))
		hooks_post(p->cf.hooks, HOOKS_ERROR, p->cf.db_path,
		    p->cf.root, text, txid);
}

void
pair_tell(struct pair *p, enum state_word word, bool always)
{
	struct state_facts *f = &p->facts;

	if (f->word != word)
		f->since_ms = time_wall_ms();
	f->word = word;
	f->known = p->serving && !p->c.doubt;
	if (p->serving) {
		f->txid = p->pages.txid;
		f->txid_ms = p->pages.newest.mtime_ns / NS_PER_MS;
		f->wal = p->pages.wal;
		f->complete = p->complete;
		f->db = p->pages.db;
	}
	state_set(&p->state, f, always);
	if (word == STATE_OK && f->levels[0] != '\0')
		post_error(p, f->levels, f->txid);
	else if (word == STATE_OK && atomic_exchange(&p->failing, false))
		hooks_post(p->cf.hooks, HOOKS_RECOVER, p->cf.db_path,
		    p->cf.root, f->error, f->txid);
}

void
pair_tell_error(struct pair *p, const struct err *e)
{
	struct state_facts *f = &p->facts;
	enum state_word word = e->kind == ERR_AWAY ? STATE_AWAY : STATE_ERROR;
	char text[sizeof f->error];

	snprintf(text, sizeof text, "%.*s", (int)sizeof text - 1, e->text);
	if (f->word != word || strcmp(text, f->error) != 0)
		f->error_ms = time_wall_ms();
	memcpy(f->error, text, sizeof text);
	pair_tell(p, word, false);
	post_error(p, f->error, f->txid);
}

/* The next pass of the pair's thread tells otherwise. */
void
pair_tell_stuck(struct pair *p, int64_t ms)
{
	struct state_facts f;
	struct err e;

	state_get(&p->state, &f);
	if (f.word != STATE_OK)		/* it takes long, or was told */
		return;
	err_set(&e, ERR_SYSTEM, "%.100s: no progress for %lld s: its disk, or "
	    "that of the database, does not answer", p->cf.root,
	    (long long)ms / 1000);
	log_line(LOG_ERROR, "stuck", "path", p->cf.db_path, "error", e.text,
	    NULL);
	f.word = STATE_ERROR;
	f.since_ms = f.error_ms = time_wall_ms();
	f.known = false;
	snprintf(f.error, sizeof f.error, "%.*s", (int)sizeof f.error - 1,
	    e.text);
	state_note(&p->state, &f);
	post_error(p, f.error, f.txid);
}

bool
pair_restorable(const struct pair *p)
{
	struct store_list l;
	struct plan plan;
	struct err e;
	bool ok;

	if (p->pages.txid == 0 || store_list(p->cf.root, -1, &l, &e) != 0)
		return true;	/* nothing to say, or no way to look */
	ok = plan_make(&l, 0, p->pages.txid, &plan, &e) == 0;
	if (ok)
		plan_free(&plan);
	store_list_free(&l);
	return ok;
}

enum pair_root
pair_root(const struct pair *p)
{
	struct disk_stat st;
	struct store_list l;
	struct err e;
	char *parent;
	bool there;

	if (disk_stat(p->cf.root, &st, &e) == 0) {
		if (same_inode(&st, &p->root))
			return PAIR_ROOT_SAME;
		if (st.dev == p->root.dev)
			return PAIR_ROOT_OTHER;
		if (store_list(p->cf.root, -1, &l, &e) != 0)
			return PAIR_ROOT_AWAY;
		there = l.n > 0;
		store_list_free(&l);
	} else {
		parent = path_dir(p->cf.root);
		there = disk_stat(parent, &st, &e) == 0 &&
		    same_inode(&st, &p->parent);
		free(parent);
	}
	return there ? PAIR_ROOT_OTHER : PAIR_ROOT_AWAY;
}
