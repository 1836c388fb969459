/* SPDX-License-Identifier: ISC */
/*
 * Start: what the replica says, with the local page table as a shortcut.
 *
 * The table is a cache.  It is believed if the replica's file at its TXID has
 * the checksum that was saved with it; files after its TXID are then rolled
 * forward (a plan from it), and the XOR of its hashes must be the post-
 * fingerprint of the newest file.  In every other case (none, damaged, another
 * timeline, files of another writer, whose fingerprints are unknown) it is
 * rebuilt from the replica's chain.  So the only dangerous state, an entry
 * that promises a page which the replica does not have, is found.
 *
 * A chain that cannot be read to its end (missing, damaged, another page size,
 * behind the table, or levels that end beyond level 0: a rebase that was
 * interrupted) is closed by a full image at the next TXID (snapshot.c).
 */
#include <sys/statvfs.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ltx.h"
#include "plan.h"
#include "resume.h"

#define TXID_SANE ((uint64_t)1 << 62)

int
resume_locate(const char *path, uint64_t *dev, uint64_t *fsid,
    struct err *e)
{
	struct disk_stat st;
	struct statvfs fs;

	if (disk_stat(path, &st, e) != 0)
		return -1;
	*dev = st.dev;
	*fsid = statvfs(path, &fs) == 0 ? fs.f_fsid : 0;
	return 0;
}

static int
need_rebase(struct resume *r, struct pages *t, const char *why)
{
	uint32_t salt;

	snprintf(r->rebase, sizeof r->rebase, "%s", why);
	if (t->txid >= r->next_txid)
		r->next_txid = t->txid + 1;
	do
		random_bytes(&salt, sizeof salt);
	while (salt == 0);
	pages_clear(t, r->page_size, salt);
	return 0;
}

/* Damaged: to be set aside if the replica turns out to be ours. */
static void
set_aside(struct resume *r, struct store_file *f, const char *why)
{
	char *path = store_path(r->root, f);

	f->bad = true;
	log_line(LOG_WARN, "damaged file in replica", "path", path, "error",
	    why, NULL);
	r->aside = xgrow(r->aside, r->n_aside, &r->cap_aside,
	    sizeof *r->aside);
	r->aside[r->n_aside++] = *f;
	free(path);
}

void
resume_free(struct resume *r)
{
	free(r->aside);
	r->aside = NULL;
	r->n_aside = r->cap_aside = 0;
}

/* The newest TXID of good files; bad ones are set aside, but their TXIDs are
 * spent unless they are absurd. */
static uint64_t
newest_txid(struct resume *r, struct store_list *l, uint64_t *spent)
{
	uint64_t max = 0;
	size_t i;

	for (i = 0; i < l->n; i++)
		if (!l->file[i].bad && l->file[i].max_txid > max)
			max = l->file[i].max_txid;
	*spent = max;
	for (i = 0; i < l->n; i++) {
		if (!l->file[i].bad)
			continue;
		if (l->file[i].max_txid > *spent &&
		    l->file[i].max_txid < max + UINT32_MAX)
			*spent = l->file[i].max_txid;
		set_aside(r, &l->file[i], "invalid header or name");
	}
	return max;
}

/* The good level 0 file of txid, or NULL. */
static struct store_file *
level0(struct store_list *l, uint64_t txid)
{
	size_t i;

	for (i = 0; i < l->n && l->file[i].level == 0; i++)
		if (!l->file[i].bad && l->file[i].max_txid == txid)
			return &l->file[i];
	return NULL;
}

static int
checksum_of(const struct resume *r, const struct store_file *f,
    uint64_t *sum, struct err *e)
{
	char *path = store_path(r->root, f);
	int fd = store_open(r->root, f, e), rc = -1;

	if (fd >= 0) {
		rc = ltx_read_file_checksum(fd, path, sum, e);
		close(fd);
	}
	free(path);
	return rc;
}

/* Enters the pages of lr.  The size is believed only at the proven end, and
 * only if the pages that it is larger by are there. */
static int
enter(struct pages *t, struct ltx_reader *lr, const char *path, struct err *e)
{
	uint32_t commit = ltx_header(lr)->commit;
	uint64_t before = t->commit;
	struct ltx_page p;
	int rc;

	while ((rc = ltx_next(lr, &p, e)) == 1) {
		if (pages_grow(t, p.pgno, before, ltx_bytes_read(lr), path,
		    e) != 0)
			return -1;
		pages_set(t, p.pgno, ltx_page_hash(t->salt, p.pgno, p.data,
		    t->page_size));
	}
	if (rc == 0 && commit > t->commit)
		rc = err_set(e, ERR_DAMAGED, "%s: pages after %lu are "
		    "missing", path, (unsigned long)t->commit);
	if (rc == 0)
		pages_resize(t, commit);
	return rc;
}

/* Reads f to its proven end; with t, enters its pages there. */
static int
read_through(const struct resume *r, const struct store_file *f,
    struct pages *t, uint64_t *sum, struct err *e)
{
	char *path = store_path(r->root, f);
	struct ltx_reader *lr = NULL;
	struct ltx_page p;
	int fd, rc = -1;

	if ((fd = store_open(r->root, f, e)) < 0 ||
	    ltx_open(&lr, fd, path, e) != 0)
		goto out;
	if (t != NULL)
		rc = enter(t, lr, path, e);
	else
		while ((rc = ltx_next(lr, &p, e)) == 1)
			continue;
	if (rc == 0)
		*sum = ltx_file_checksum(lr);
out:
	ltx_close(lr);
	if (fd >= 0)
		close(fd);
	free(path);
	return rc;
}

/*
 * Rolls t forward by the chain from its TXID (0: from nothing) to txid.  1; 0
 * if the chain does not give it, with *why; -1.
 */
static int
roll(struct resume *r, struct store_list *l, struct pages *t, uint64_t txid,
    struct err *why, struct err *e)
{
	struct store_file *f;
	struct plan p;
	uint64_t sum = 0;
	size_t i;
	int rc = 1;

	if (plan_make(l, t->txid, txid, &p, why) != 0)
		return 0;
	for (i = 0; rc == 1 && i < p.n; i++) {
		f = &l->file[p.file[i]];
		if (f->h.page_size != t->page_size)
			rc = err_set(why, ERR_DAMAGED, "page size is %lu, "
			    "was %lu", (unsigned long)t->page_size,
			    (unsigned long)f->h.page_size) + 1;
		else if (read_through(r, f, t, &sum, why) != 0) {
			rc = 0;
			if (why->kind == ERR_DAMAGED)
				set_aside(r, f, why->text);
			else if (why->kind != ERR_ABSENT) {
				*e = *why;
				rc = -1;
			}
		} else
			t->txid = f->max_txid;
	}
	plan_free(&p);
	return rc;
}

/* Whether t can be what the chain restores to. */
static bool
plausible(const struct pages *t, const struct store_file *newest)
{
	return t->commit == newest->h.commit && pages_complete(t) &&
	    (newest->h.salt == 0 || newest->h.salt != t->salt ||
	    newest->h.post_fingerprint == t->fingerprint);
}

/* The saved table, if the replica still has the file that it ends in. */
static bool
continues(const struct resume *r, struct store_list *l,
    const struct pages *t, const struct store_file *newest)
{
	struct store_file *own = level0(l, t->txid);
	struct err ignored;
	uint64_t sum;

	return t->txid != 0 && t->page_size == r->page_size &&
	    newest->h.salt == t->salt && (own == NULL ||
	    (checksum_of(r, own, &sum, &ignored) == 0 &&
	    sum == t->file_checksum));
}

/* t from the whole chain; a table that fails to be plausible is a rebase. */
static int
rebuild(struct resume *r, struct store_list *l, struct pages *t,
    const struct store_file *newest, struct err *e)
{
	uint32_t salt = newest->h.salt;
	struct err why;
	int rc;

	while (salt == 0)
		random_bytes(&salt, sizeof salt);
	log_line(LOG_INFO, "reading replica", "path", r->db_path, "txid",
	    TXID(newest->max_txid), NULL);
	do {	/* a file that was set aside may have left another way */
		pages_clear(t, r->page_size, salt);
		rc = roll(r, l, t, newest->max_txid, &why, e);
	} while (rc == 0 && why.kind == ERR_DAMAGED && t->txid != 0 &&
	    level0(l, newest->max_txid) == newest);
	if (rc == 0)
		return need_rebase(r, t, why.text);
	if (rc == 1 && !plausible(t, newest))
		return need_rebase(r, t, "the chain does not give the state "
		    "that its last file promises");
	return rc == 1 ? 0 : -1;
}

/* t ends in newest: take its checksum over, proven. */
static int
take_end(struct resume *r, struct store_file *newest, struct pages *t,
    struct err *e)
{
	char *path = store_path(r->root, newest);
	int rc;

	rc = checksum_of(r, newest, &t->file_checksum, e);
	if (rc == 0)
		rc = disk_stat(path, &t->newest, e);
	free(path);
	return rc;
}

/*
 * The replica ends in the TXID of t: is the file of then untouched?  1 yes,
 * with the inode and times of then, or read to its end; 0 no; -1.
 */
static int
untouched(struct resume *r, struct store_file *newest, struct pages *t,
    struct err *e)
{
	char *path = store_path(r->root, newest);
	struct disk_stat now;
	uint64_t sum;
	int rc = -1;

	if (disk_stat(path, &now, e) != 0)
		goto out;
	rc = 1;
	if (disk_stat_equal(&now, &t->newest))
		goto out;
	if (read_through(r, newest, NULL, &sum, e) != 0) {
		rc = e->kind == ERR_DAMAGED ? 0 : -1;
		if (rc == 0)
			set_aside(r, newest, e->text);
	} else
		t->newest = now;
out:
	free(path);
	return rc;
}

static int
advance(struct resume *r, struct store_list *l, struct pages *t,
    struct store_file *newest, struct err *e)
{
	struct err why;
	int rc;

	if (!continues(r, l, t, newest))
		rc = 0;
	else if (t->txid == newest->max_txid) {
		if ((rc = untouched(r, newest, t, e)) == 0)
			return need_rebase(r, t, "newest file is damaged");
		r->same_end = rc == 1 && plausible(t, newest);
		rc = rc == 1 ? r->same_end : rc;
	} else {
		rc = roll(r, l, t, newest->max_txid, &why, e);
		if (rc == 1 && !plausible(t, newest))
			rc = 0;
	}
	if (rc < 0)
		return -1;
	if (rc == 0 && rebuild(r, l, t, newest, e) != 0)
		return -1;
	if (r->rebase[0] != '\0' || r->same_end)
		return 0;
	return take_end(r, newest, t, e);
}

int
resume_table(struct resume *r, struct pages *t, struct err *e)
{
	struct plan p = { NULL, 0, 0 };
	struct store_file *newest;
	struct store_list l;
	uint64_t max, spent;
	uint32_t salt = 0;
	size_t i;
	int rc = 0;

	r->rebase[0] = '\0';
	r->empty = r->same_end = false;
	if (store_list(r->root, -1, &l, e) != 0)
		return -1;
	for (i = 0; i < l.n; i++)
		if (l.file[i].unread) {	/* nothing is known of it: not now */
			*e = l.first_unread;
			store_list_free(&l);
			return -1;
		}
	max = newest_txid(r, &l, &spent);
	newest = level0(&l, max);
	r->next_txid = spent + 1;
	if (spent >= TXID_SANE)
		rc = err_set(e, ERR_DAMAGED, "%s: TXID %016" PRIx64
		    " is out of range", r->root, spent);
	else if (l.n == 0) {
		while (salt == 0)
			random_bytes(&salt, sizeof salt);
		pages_clear(t, r->page_size, salt);
		r->empty = true;
	} else if (t->txid > spent)
		rc = need_rebase(r, t, "replica is behind the local state");
	else if (max == 0 || newest == NULL || spent > max)
		rc = need_rebase(r, t, spent > max ?
		    "newest file is damaged" :
		    "the levels do not end in one TXID");
	else if (newest->h.page_size != r->page_size)
		rc = need_rebase(r, t, "page size has changed");
	else if (plan_make(&l, 0, max, &p, e) != 0)
		rc = need_rebase(r, t, e->text);
	else
		rc = advance(r, &l, t, newest, e);
	plan_free(&p);
	store_list_free(&l);
	return rc;
}

/* The checksum of the newest local copy of another writer, if any: its
 * position (FORMAT 1.3). */
static bool
other_writer_ends_here(const struct resume *r, const struct pages *t)
{
	struct store_file f;
	struct store_list l;
	struct err ignored;
	uint64_t sum = 0;
	bool same = false;

	if (t->txid == 0 || store_list(r->meta, 0, &l, &ignored) != 0)
		return false;
	if (l.n > 0 && !l.file[l.n - 1].bad &&
	    l.file[l.n - 1].max_txid == t->txid) {
		struct resume local = *r;

		local.root = r->meta;
		f = l.file[l.n - 1];
		same = checksum_of(&local, &f, &sum, &ignored) == 0 &&
		    sum == t->file_checksum;
	}
	store_list_free(&l);
	return same;
}

static int
foreign(const struct resume *r, const struct store_identity *i,
    struct err *e)
{
	err_set(e, ERR_FOREIGN, "%s: is the replica of another database: %s "
	    "on %s", r->root, i->path != NULL ? i->path : "unknown",
	    i->host != NULL ? i->host : "unknown");
	err_hint(e, "use another directory, or -adopt to continue it with "
	    "this database");
	return -1;
}

int
resume_identity(struct resume *r, const struct pages *t, struct err *e)
{
	struct store_identity i, me;
	int rc, got;

	r->stranger = false;
	if ((got = store_identity_read(r->root, &i, e)) < 0)
		return -1;
	store_identity_new(&me, r->db_path, r->page_size);
	rc = 0;
	if (r->adopt || (got == 0 && (r->empty || r->ours)))
		goto out;
	if (got == 1 && t->id[0] != '\0') {
		if (strcmp(i.id, t->id) != 0)
			rc = foreign(r, &i, e);
		goto out;
	}
	if (got == 1 && strcmp(i.path, me.path) == 0 &&
	    strcmp(i.host, me.host) == 0)
		goto out;
	if (got == 0 && t->id[0] != '\0' && r->same_end)
		goto out;
	r->stranger = !r->empty && !other_writer_ends_here(r, t);
out:
	store_identity_free(&me);
	store_identity_free(&i);
	return rc;
}

/* Removes names of files (or of temporaries) from directory name of the open
 * directory dir, which is at path; no link is followed. */
static int
sweep(int dir, const char *name, bool temporaries, const char *path,
    struct err *e)
{
	struct store_file ignored;
	struct dirent *d;
	DIR *dp = NULL;
	char *entry;
	int fd, rc = 0;

	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
	    O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ?
		    0 : err_sys(e, path, "open");
	if ((dp = fdopendir(fd)) == NULL) {
		err_sys(e, path, "open");
		close(fd);
		return -1;
	}
	for (errno = 0; rc == 0 && (d = readdir(dp)) != NULL; errno = 0)
		if (temporaries ? store_is_temporary(d->d_name) :
		    store_parse_name(d->d_name, &ignored)) {
			entry = xasprintf("%s/%s/%s", path, name, d->d_name);
			rc = disk_unlink_in(dirfd(dp), d->d_name, entry, e);
			free(entry);
		}
	if (rc == 0 && errno != 0)
		rc = err_sys(e, path, "read");
	closedir(dp);
	return rc;
}

int
resume_drop_copies(const char *meta, struct err *e)
{
	char *copies = xasprintf("%s/ltx", meta), name[8];
	int at, fd, level, rc = 0;

	/* Both could be a link by now, in a directory of another user. */
	at = disk_open_dir(AT_FDCWD, meta, false, meta, e);
	fd = at < 0 ? -1 : disk_open_dir(at, "ltx", false, copies, e);
	if (at >= 0)
		close(at);
	for (level = 0; fd >= 0 && rc == 0 && level < STORE_LEVELS; level++) {
		snprintf(name, sizeof name, "%d", level);
		rc = sweep(fd, name, false, copies, e);
	}
	if (fd >= 0)
		close(fd);
	free(copies);
	return rc;
}

/* What a crash left of a file of ours at level 0. */
static int
drop_temporaries(const char *root, struct err *e)
{
	char *ltx = xasprintf("%s/ltx", root);
	int fd = disk_open_dir(AT_FDCWD, ltx, false, ltx, e), rc = 0;

	if (fd >= 0) {
		rc = sweep(fd, "0", true, ltx, e);
		close(fd);
	}
	free(ltx);
	return rc;
}

int
resume_claim(const struct resume *r, struct pages *t,
    const struct disk_owner *o, struct err *e)
{
	struct store_identity i, me;
	int rc = 0, got;
	struct err why;

	if (store_set_aside(r->root, r->aside, r->n_aside, &why) != 0)
		log_line(LOG_ERROR, "cannot set damaged file aside", "error",
		    why.text, NULL);
	if ((got = store_identity_read(r->root, &i, e)) < 0)
		return -1;
	store_identity_new(&me, r->db_path, r->page_size);
	/* Adopted by force it gets a new id: whoever had it has lost it. */
	if (got == 1 && (!r->adopt || strcmp(i.id, t->id) == 0))
		memcpy(me.id, i.id, sizeof me.id);
	else if (got != 1 && t->id[0] != '\0')
		memcpy(me.id, t->id, sizeof me.id);
	if (got != 1 || strcmp(i.id, me.id) != 0 ||
	    strcmp(i.path, me.path) != 0 ||
	    strcmp(i.host, me.host) != 0 || i.page_size != me.page_size)
		rc = store_identity_write(r->root, &me, o, e);
	if (rc == 0)
		rc = resume_drop_copies(r->meta, e);
	if (rc == 0)
		rc = drop_temporaries(r->root, e);
	if (rc == 0)
		memcpy(t->id, me.id, sizeof t->id);
	store_identity_free(&me);
	store_identity_free(&i);
	return rc;
}
