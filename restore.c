/* SPDX-License-Identifier: ISC */
/*
 * A restore point written as a database file.
 *
 * The chain's files are opened before anything is written, so that retention
 * may unlink them meanwhile.  They are applied newest first: a page is taken
 * from the first file that has it, so each page of the output is written once,
 * and what an older file says about it is ignored.  Going back, lim is the
 * smallest commit size seen so far, the file's own included: a page past lim
 * was cut off by a later transaction, and its older form must not come back.
 * (A file whose commit grew holds all the pages it grew by.)  When every page
 * is done the rest of the chain cannot matter and is not read, so a full image
 * hides all before it, even of another page size.
 *
 * Nothing of a file counts before its reader has proven it to the end, so all
 * of this goes to OUT.tmp.  A file found damaged is marked so in the list, and
 * the work begins again with the chain that is planned without it; a file that
 * has gone makes us list again.  The target does not move with that: it is
 * fixed once, or the loss of the newest file would give an older state.
 *
 * The output is valid if and only if: all files applied are proven; every page
 * in 1..commit came from one of them (the lock page is zeros); if the newest
 * file knows its salt, the fingerprint over these pages is the one it carries;
 * and, where asked, SQLite's own check of the temporary passes.
 *
 * Publication, over an existing database (-force):
 *	1. OUT.tmp is complete and synced
 *	2. rename OUT-wal, OUT-shm, OUT-journal to NAME.replaced; sync directory
 *	3. rename OUT.tmp to OUT; sync directory
 *	4. remove NAME.replaced
 * A crash before 2 leaves the old database as it was.  Between 2 and 3 the old
 * one is OUT with its NAME.replaced (rename them back), and the new one is
 * OUT.tmp, whole; restoring again finishes the work.  After 3 the new one is
 * in place and the asides are rubbish that the next restore removes.  At no
 * moment does a sidecar of the old database lie beside the new one: SQLite
 * would play its frames into it.  -shm goes with them, since a process that
 * still has the old database open would share it with those of the new one.
 * A failure (not a crash) in 2 or 3 moves the sidecars back.
 */
#include <sys/resource.h>
#include <sys/stat.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "disk.h"
#include "ltx.h"
#include "restore.h"

#define WRITE_SIZE (1024 * 1024)
#define MIN_PAGE_BYTES 16	/* no page takes less in a file */
#define MAX_LISTINGS 10		/* while files vanish under us */
#define PROGRESS_PAGES 256	/* between looks at the clock */
#define PROGRESS_FIRST_MS 1000
#define PROGRESS_EACH_MS 200

enum outcome {
	FAILED = -1,	/* *e says why */
	AGAIN,		/* the list has changed: plan again */
	DONE
};

static const char *const sidecars[] = { "-wal", "-journal", "-shm" };
#define SIDECARS (sizeof(sidecars) / sizeof(sidecars[0]))
#define SIDECARS_WITH_CONTENT 2	/* the first ones: not -shm */

struct progress {
	bool on, shown;
	uint64_t before, total;	/* bytes of the files done, of all */
	int64_t start_ms, last_ms;
	unsigned pages;
};

struct job {
	const struct restore_args *a;
	struct store_list list;
	struct plan plan;
	uint64_t target;
	int *in;		/* descriptors of the plan's files, or -1 */
	char *tmp;
	int out;
	/* The image. */
	uint8_t *have;		/* a bit for each page */
	uint32_t page_size, commit, lim, done, salt;
	uint64_t fingerprint, want_fingerprint;
	/* Contiguous pages on their way to the file. */
	uint8_t *buf;
	size_t buf_n;
	int64_t buf_off;
	struct progress progress;
};

/* The output and its sidecars */

static char *
sidecar(const char *out, size_t i)
{
	return xasprintf("%s%s", out, sidecars[i]);
}

static int
check_sidecars(const char *out, size_t n, struct err *e)
{
	struct stat st;
	char *path;
	size_t i;
	bool there;

	for (i = 0; i < n; i++) {
		path = sidecar(out, i);
		there = lstat(path, &st) == 0;
		if (there) {
			err_set(e, ERR_USAGE, "cannot restore, SQLite sidecar "
			    "path already exists: %s. Use -force to overwrite",
			    path);
			err_hint(e, "it holds data of an earlier database; "
			    "move it away, or discard it with -force");
		}
		free(path);
		if (there)
			return -1;
	}
	return 0;
}

/* Whether the output may be written, in upstream's words. */
static int
check_output(const struct restore_args *a, struct err *e)
{
	struct stat st;

	if (stat(a->out, &st) != 0) {
		if (errno == ENOTDIR)
			return err_sys(e, a->out, "stat");
		return a->force ? 0 :
		    check_sidecars(a->out, SIDECARS_WITH_CONTENT, e);
	}
	if (S_ISDIR(st.st_mode))
		return err_set(e, ERR_USAGE, "cannot restore, output path is "
		    "a directory: %s", a->out);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_USAGE, "cannot restore, output path is "
		    "not a regular file: %s", a->out);
	if (a->force)
		return 0;
	if (st.st_size > 0)
		return err_set(e, ERR_USAGE, "cannot restore, output path "
		    "already exists and is not empty: %s. Use -force to "
		    "overwrite", a->out);
	return check_sidecars(a->out, SIDECARS, e);
}

static void
remove_sidecars(const char *path)
{
	struct err ignored;
	char *s;
	size_t i;

	for (i = 0; i < SIDECARS; i++) {
		s = sidecar(path, i);
		disk_unlink(s, &ignored);
		free(s);
	}
}

/* Sidecars to their asides, or back; those that are not there do not matter. */
static int
move_sidecars(const char *out, bool back, struct err *e)
{
	struct stat st;
	char *path, *aside;
	size_t i;
	int rc = 0;

	for (i = 0; i < SIDECARS && rc == 0; i++) {
		path = sidecar(out, i);
		aside = xasprintf("%s.replaced", path);
		if (lstat(back ? aside : path, &st) == 0)
			rc = back ? disk_rename(aside, path, e) :
			    disk_rename(path, aside, e);
		free(path);
		free(aside);
	}
	return rc;
}

static void
remove_asides(const char *out)
{
	struct err ignored;
	char *path;
	size_t i;

	for (i = 0; i < SIDECARS; i++) {
		path = xasprintf("%s%s.replaced", out, sidecars[i]);
		disk_unlink(path, &ignored);
		free(path);
	}
}

/* Another restore to the same output may have taken the name of ours. */
static int
check_tmp(const struct job *j, struct err *e)
{
	struct stat ours, there;

	if (fstat(j->out, &ours) != 0 || lstat(j->tmp, &there) != 0)
		return err_sys(e, j->tmp, "stat");
	if (ours.st_dev != there.st_dev || ours.st_ino != there.st_ino)
		return err_set(e, ERR_LOCKED, "%s: taken over by another "
		    "restore", j->tmp);
	return 0;
}

static int
publish(struct job *j, struct err *e)
{
	const char *out = j->a->out;
	char *dir = path_dir(out);
	struct err ignored;
	int rc = -1;

	if (check_output(j->a, e) != 0 || check_tmp(j, e) != 0)
		goto out;
	if (j->a->force && (move_sidecars(out, false, e) != 0 ||
	    disk_sync_dir(dir, e) != 0)) {
		move_sidecars(out, true, &ignored);
		goto out;
	}
	if (disk_rename(j->tmp, out, e) != 0) {
		if (j->a->force)
			move_sidecars(out, true, &ignored);
		goto out;
	}
	free(j->tmp);
	j->tmp = NULL;
	if (disk_sync_dir(dir, e) != 0)
		goto out;
	if (j->a->force)
		remove_asides(out);
	rc = 0;
out:
	free(dir);
	return rc;
}

/* Progress */

static void
show_progress(struct progress *g, uint64_t bytes)
{
	int64_t now, took;
	uint64_t rate, done;

	if (!g->on || ++g->pages % PROGRESS_PAGES != 0)
		return;
	now = time_mono_ms();
	took = now - g->start_ms;
	if (took < PROGRESS_FIRST_MS || now - g->last_ms < PROGRESS_EACH_MS)
		return;
	g->last_ms = now;
	g->shown = true;
	done = g->before + bytes;
	rate = done * 1000 / (uint64_t)took;
	fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " MB, %" PRIu64
	    " MB/s, %" PRIu64 " s left   ", done / 1000000,
	    g->total / 1000000, rate / 1000000,
	    g->total > done && rate > 0 ? (g->total - done) / rate : 0);
	fflush(stderr);
}

static void
end_progress(struct progress *g)
{
	if (g->shown)
		fputs("\r\033[K", stderr);
	g->shown = false;
}

/* The list and the chain */

static int
resolve(const struct restore_args *a, const struct store_list *l,
    uint64_t *target, struct err *e)
{
	char *doubt = NULL;

	*target = a->txid;
	if (a->txid != 0 && a->has_time)
		return err_set(e, ERR_USAGE,
		    "cannot specify index & timestamp to restore");
	if (!a->has_time)
		return 0;
	if (plan_at_time(l, a->time_ms, target, &doubt, e) != 0)
		return -1;
	if (doubt != NULL)
		log_line(LOG_WARN, doubt, "txid", TXID(*target), NULL);
	free(doubt);
	return 0;
}

/*
 * The chain to target.  For a time, one of files that are no younger is better
 * than a shorter one: snapshots of Litestream up to 0.5.12 can hold commits
 * later than their TXID.
 */
static int
make_chain(const struct restore_args *a, const struct store_list *l,
    uint64_t target, struct plan *p, struct err *e)
{
	struct store_list old = { .n = l->n };
	size_t i;
	int rc;

	if (a->has_time && l->n > 0) {
		old.file = xmalloc(l->n * sizeof(*old.file));
		memcpy(old.file, l->file, l->n * sizeof(*old.file));
		for (i = 0; i < l->n; i++)
			if (!l->file[i].bad &&
			    l->file[i].h.timestamp_ms > a->time_ms)
				old.file[i].bad = true;
		rc = plan_make(&old, 0, target, p, e);
		free(old.file);
		if (rc == 0)
			return 0;
	}
	return plan_make(l, 0, target, p, e);
}

int
restore_plan(const struct restore_args *a, struct store_list *l,
    struct plan *p, struct err *e)
{
	uint64_t target;

	if (store_list(a->root, -1, l, e) != 0)
		return -1;
	if (resolve(a, l, &target, e) == 0 &&
	    make_chain(a, l, target, p, e) == 0)
		return 0;
	store_list_free(l);
	return -1;
}

/* Never again in a chain of this run. */
static void
mark_bad(struct job *j, size_t i, const struct err *why)
{
	struct store_file *f = &j->list.file[j->plan.file[i]];

	end_progress(&j->progress);
	log_line(LOG_WARN, "replica file cannot be used", "error", why->text,
	    NULL);
	f->bad = true;
	j->list.first_bad = *why;
}

static bool
raise_limit(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) != 0 ||
	    lim.rlim_cur == lim.rlim_max)
		return false;
	lim.rlim_cur = lim.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &lim) == 0;
}

static void
close_files(struct job *j)
{
	size_t i;

	for (i = 0; j->in != NULL && i < j->plan.n; i++)
		if (j->in[i] >= 0)
			close(j->in[i]);
	free(j->in);
	j->in = NULL;
}

static bool
out_of_descriptors(const struct err *e)
{
	return e->kind == ERR_SYSTEM &&
	    (e->code == EMFILE || e->code == ENFILE);
}

/* One file of the plan.  AGAIN: it is bad, or (*gone) not there any more. */
static enum outcome
open_file(struct job *j, size_t i, bool *gone, struct err *e)
{
	const struct store_file *f = &j->list.file[j->plan.file[i]];

	j->in[i] = store_open(j->a->root, f, e);
	if (j->in[i] < 0 && out_of_descriptors(e) && raise_limit())
		j->in[i] = store_open(j->a->root, f, e);
	if (j->in[i] >= 0)
		return DONE;
	if (out_of_descriptors(e))
		return FAILED;
	if (e->kind == ERR_ABSENT)
		*gone = true;
	else
		mark_bad(j, i, e);
	return AGAIN;
}

/* All files, newest first; where descriptors run out the oldest are left for
 * later, except for one so that work is possible at all. */
static enum outcome
open_files(struct job *j, bool *gone, struct err *e)
{
	enum outcome o;
	size_t i;

	j->in = xmalloc((j->plan.n + 1) * sizeof(*j->in));
	for (i = 0; i < j->plan.n; i++)
		j->in[i] = -1;
	for (i = j->plan.n; i-- > 0;) {
		o = open_file(j, i, gone, e);
		if (o == AGAIN || (o == FAILED && i + 1 == j->plan.n))
			return o;
		if (o == FAILED) {
			close(j->in[i + 1]);	/* room for the output */
			j->in[i + 1] = -1;
			break;
		}
	}
	return DONE;
}

/* The image */

static int
flush(struct job *j, struct err *e)
{
	size_t n = j->buf_n;

	j->buf_n = 0;
	return n == 0 ? 0 :
	    disk_pwrite(j->out, j->buf, n, j->buf_off, j->tmp, e);
}

static bool
is_done(const struct job *j, uint32_t pgno)
{
	uint32_t i = pgno - 1;

	return (j->have[i / 8] >> i % 8 & 1) != 0;
}

static void
set_done(struct job *j, uint32_t pgno)
{
	uint32_t i = pgno - 1;

	j->have[i / 8] = (uint8_t)(j->have[i / 8] | 1u << i % 8);
	j->done++;
}

static int
put_page(struct job *j, const struct ltx_page *p, struct err *e)
{
	int64_t off = (int64_t)(p->pgno - 1) * j->page_size;

	if ((off != j->buf_off + (int64_t)j->buf_n ||
	    j->buf_n + j->page_size > WRITE_SIZE) && flush(j, e) != 0)
		return -1;
	if (j->buf_n == 0)
		j->buf_off = off;
	memcpy(j->buf + j->buf_n, p->data, j->page_size);
	j->buf_n += j->page_size;
	set_done(j, p->pgno);
	if (j->salt != 0)
		j->fingerprint ^= ltx_page_hash(j->salt, p->pgno, p->data,
		    j->page_size);
	return 0;
}

/* The newest file says how large the image is; the chain must have room for
 * that many pages before memory is spent on them. */
static int
begin_image(struct job *j, const struct ltx_header *h, const char *path,
    struct err *e)
{
	if (h->commit == 0)
		return err_set(e, ERR_DAMAGED, "%s: database without pages",
		    path);
	if (h->commit > j->progress.total / MIN_PAGE_BYTES + 1)
		return err_set(e, ERR_DAMAGED, "%s: %" PRIu32 " pages do not "
		    "fit into the files there are", path, h->commit);
	j->page_size = h->page_size;
	j->commit = j->lim = h->commit;
	j->salt = h->salt;
	j->want_fingerprint = h->post_fingerprint;
	j->have = xcalloc(h->commit / 8 + 1, 1);
	if (ltx_lock_page(h->page_size) <= h->commit)
		set_done(j, ltx_lock_page(h->page_size));
	return 0;
}

/* Header against name and image; 0 or ERR_DAMAGED. */
static int
check_header(struct job *j, size_t i, const struct ltx_header *h,
    const char *path, struct err *e)
{
	const struct store_file *f = &j->list.file[j->plan.file[i]];

	if (h->min_txid != f->min_txid || h->max_txid != f->max_txid)
		return err_set(e, ERR_DAMAGED, "%s: header is not that of "
		    "the name", path);
	if (j->have == NULL)
		return begin_image(j, h, path, e);
	if (h->page_size != j->page_size)
		return err_set(e, ERR_DAMAGED, "%s: input files have "
		    "mismatched page sizes: %" PRIu32 " != %" PRIu32, path,
		    h->page_size, j->page_size);
	return 0;
}

static enum outcome
apply_file(struct job *j, size_t i, struct err *e)
{
	char *path = store_path(j->a->root, &j->list.file[j->plan.file[i]]);
	const struct ltx_header *h;
	struct ltx_reader *r = NULL;
	struct ltx_page p;
	enum outcome o = AGAIN;
	int k = -1;

	if (ltx_open(&r, j->in[i], path, e) != 0)
		goto out;
	h = ltx_header(r);
	if (check_header(j, i, h, path, e) != 0)
		goto out;
	if (h->commit < j->lim)
		j->lim = h->commit;
	while ((k = ltx_next(r, &p, e)) == 1) {
		if (p.pgno <= j->lim && !is_done(j, p.pgno) &&
		    put_page(j, &p, e) != 0) {
			o = FAILED;
			goto out;
		}
		show_progress(&j->progress, ltx_bytes_read(r));
	}
	if (k == 0) {
		j->progress.before += ltx_bytes_read(r);
		o = DONE;
	}
out:
	if (o == AGAIN)
		mark_bad(j, i, e);
	ltx_close(r);
	free(path);
	return o;
}

static void
reset_image(struct job *j)
{
	size_t i;

	free(j->have);
	j->have = NULL;
	j->commit = j->done = 0;
	j->fingerprint = 0;
	j->buf_n = 0;
	j->progress.before = j->progress.total = 0;
	for (i = 0; i < j->plan.n; i++)
		j->progress.total += j->list.file[j->plan.file[i]].size;
}

/* The temporary, with mode and owner of the newest file of the chain. */
static int
create_tmp(struct job *j, struct err *e)
{
	struct disk_owner o;
	char *path, *dir;
	int rc = -1;

	path = store_path(j->a->root,
	    &j->list.file[j->plan.file[j->plan.n - 1]]);
	dir = path_dir(j->a->out);
	if (disk_owner_of(path, &o, e) != 0) {
		if (e->kind != ERR_ABSENT)
			goto out;
		disk_owner_private(&o);
	}
	if (disk_mkdirs(dir, &o, e) != 0)
		goto out;
	j->out = disk_create(j->tmp, &o, e);
	rc = j->out < 0 ? -1 : 0;
out:
	free(path);
	free(dir);
	return rc;
}

/* The whole chain, newest first, until every page is there. */
static enum outcome
apply_chain(struct job *j, bool *gone, struct err *e)
{
	enum outcome o;
	size_t i;

	reset_image(j);
	if ((j->out < 0 && create_tmp(j, e) != 0) ||
	    disk_truncate(j->out, 0, j->tmp, e) != 0)
		return FAILED;
	for (i = j->plan.n; i-- > 0 && (j->have == NULL ||
	    j->done < j->commit);) {
		if (j->in[i] < 0 && (o = open_file(j, i, gone, e)) != DONE)
			return o;
		if ((o = apply_file(j, i, e)) != DONE)
			return o;
		close(j->in[i]);
		j->in[i] = -1;
	}
	return DONE;
}

static int
list_again(struct job *j, struct err *e)
{
	store_list_free(&j->list);
	return store_list(j->a->root, -1, &j->list, e);
}

/* Plans and applies until a chain holds.  Each round that fails marks a file
 * bad, or lists again a limited number of times: it ends. */
static int
build(struct job *j, struct err *e)
{
	enum outcome o;
	bool gone;
	int listings = 1;

	for (;;) {
		if (make_chain(j->a, &j->list, j->target, &j->plan, e) != 0)
			return -1;
		gone = false;
		o = open_files(j, &gone, e);
		if (o == DONE)
			o = apply_chain(j, &gone, e);
		close_files(j);
		if (o == DONE)
			return 0;
		plan_free(&j->plan);
		if (o == FAILED)
			break;
		if (gone && (listings++ == MAX_LISTINGS ||
		    list_again(j, e) != 0))
			break;
	}
	/* Absent is what the replica lacks, never a path on the way. */
	if (e->kind == ERR_ABSENT)
		e->kind = ERR_SYSTEM;
	return -1;
}

/* Every page there, and the image the one that was backed up. */
static int
prove(struct job *j, struct restore_result *res, struct err *e)
{
	uint32_t pgno;

	if (j->done < j->commit) {
		for (pgno = 1; is_done(j, pgno);)
			pgno++;
		return err_set(e, ERR_DAMAGED, "%s: page %" PRIu32 " is "
		    "missing from the files up to %s", j->a->root, pgno,
		    TXID(j->plan.txid));
	}
	res->proven = j->salt != 0;
	if (res->proven && j->fingerprint != j->want_fingerprint)
		return err_set(e, ERR_DAMAGED, "%s: the files up to %s do "
		    "not make the database that was backed up (fingerprint "
		    "mismatch)", j->a->root, TXID(j->plan.txid));
	return 0;
}

static int
integrity(struct job *j, struct err *e)
{
	struct err why;
	int rc;

	if (j->a->check == RESTORE_CHECK_NONE)
		return 0;
	remove_sidecars(j->tmp);
	rc = db_check_file(j->tmp, j->a->check == RESTORE_CHECK_FULL, &why);
	if (rc != 0)
		return err_set(e, why.kind, "post-restore integrity check: %s",
		    why.text);
	log_line(LOG_INFO, "post-restore integrity check passed", NULL);
	return 0;
}

static int
finish(struct job *j, struct restore_result *res, struct err *e)
{
	const struct store_file *newest =
	    &j->list.file[j->plan.file[j->plan.n - 1]];

	if (prove(j, res, e) != 0 || flush(j, e) != 0 ||
	    disk_truncate(j->out, (int64_t)j->commit * j->page_size, j->tmp,
	    e) != 0 || disk_sync(j->out, j->tmp, e) != 0)
		return -1;
	end_progress(&j->progress);
	if (integrity(j, e) != 0 || publish(j, e) != 0)
		return -1;
	res->txid = j->plan.txid;
	res->timestamp_ms = newest->h.timestamp_ms;
	res->commit = j->commit;
	res->page_size = j->page_size;
	return disk_close(&j->out, j->a->out, e);
}

static void
abandon(struct job *j)
{
	struct err ignored;
	bool ours = j->out >= 0 && j->tmp != NULL &&
	    check_tmp(j, &ignored) == 0;

	if (ours)
		disk_unlink(j->tmp, &ignored);
	disk_close(&j->out, j->a->out, &ignored);
	end_progress(&j->progress);
	store_list_free(&j->list);
	plan_free(&j->plan);
	free(j->tmp);
	free(j->have);
	free(j->buf);
}

int
restore_run(const struct restore_args *a, struct restore_result *res,
    struct err *e)
{
	struct job j = { .a = a, .out = -1 };
	int rc = -1;

	memset(res, 0, sizeof(*res));
	if (check_output(a, e) != 0)
		return -1;
	j.tmp = xasprintf("%s.tmp", a->out);
	j.buf = xmalloc(WRITE_SIZE);
	j.progress.on = a->progress && isatty(STDERR_FILENO);
	j.progress.start_ms = time_mono_ms();
	if (store_list(a->root, -1, &j.list, e) != 0 ||
	    resolve(a, &j.list, &j.target, e) != 0)
		goto out;
	if (j.list.first_bad.kind != ERR_NONE)
		log_line(LOG_WARN, "damaged file in replica", "error",
		    j.list.first_bad.text, NULL);
	if (build(&j, e) != 0)
		goto out;
	rc = finish(&j, res, e);
	if (rc != 0 && e->kind == ERR_ABSENT)
		e->kind = ERR_SYSTEM;
out:
	abandon(&j);
	return rc;
}
