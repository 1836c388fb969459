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
 * and, where asked, SQLite's own check of the temporary passes.  Then output.c
 * puts it in place.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "disk.h"
#include "ltx.h"
#include "output.h"
#include "progress.h"
#include "restore.h"
#include "v3.h"

#define MIN_PAGE_BYTES 16	/* no page takes less in a file */
#define MAX_LISTINGS 10		/* while files vanish under us */

enum outcome {
	FAILED = -1,	/* *e says why */
	AGAIN,		/* the list has changed: plan again */
	DONE
};

struct job {
	const struct restore_args *a;
	struct store_list list;
	struct plan plan;
	uint64_t target;
	int *in;		/* descriptors of the plan's files, or -1 */
	struct output out;
	/* The image. */
	uint8_t *have;		/* a bit for each page */
	uint32_t page_size, commit, lim, done, salt;
	uint64_t fingerprint, want_fingerprint;
	struct progress progress;
};

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

/* A file of another history in the chain: the younger of two neighbours. */
static bool
drop_stranger(struct store_list *l, const struct plan *p)
{
	size_t i;

	for (i = 1; i < p->n; i++)
		if (store_contradicts(&l->file[p->file[i - 1]],
		    &l->file[p->file[i]])) {
			l->file[p->file[i]].bad = true;
			err_set(&l->first_bad, ERR_DAMAGED, "TXID %s is of "
			    "another history than TXID %s",
			    TXID(l->file[p->file[i]].min_txid),
			    TXID(l->file[p->file[i - 1]].max_txid));
			return true;
		}
	return false;
}

/*
 * The chain to target.  For a time, one of files that are no younger is better
 * than a shorter one: snapshots of Litestream up to 0.5.12 can hold commits
 * later than their TXID.
 */
static int
plan_once(const struct restore_args *a, const struct store_list *l,
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

static int
make_chain(const struct restore_args *a, struct store_list *l,
    uint64_t target, struct plan *p, struct err *e)
{
	while (plan_once(a, l, target, p, e) == 0) {
		if (!drop_stranger(l, p))
			return 0;
		plan_free(p);
	}
	return -1;
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

	progress_end(&j->progress);
	log_line(LOG_WARN, "replica file cannot be used", "error", why->text,
	    NULL);
	f->bad = true;
	j->list.first_bad = *why;
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
	if (j->in[i] < 0 && out_of_descriptors(e) &&
	    raise_descriptors(NULL))
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

	if (output_write(&j->out, p->data, j->page_size, off, e) != 0)
		return -1;
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
		progress_show(&j->progress, ltx_bytes_read(r));
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
	j->progress.before = j->progress.total = 0;
	for (i = 0; i < j->plan.n; i++)
		j->progress.total += j->list.file[j->plan.file[i]].size;
}

/* The temporary, with mode and owner of the newest file of the chain. */
static int
begin_output(struct job *j, struct err *e)
{
	struct disk_owner o;
	char *path;
	int rc = 0;

	path = store_path(j->a->root,
	    &j->list.file[j->plan.file[j->plan.n - 1]]);
	if (disk_owner_of(path, &o, e) != 0) {
		rc = e->kind == ERR_ABSENT ? 0 : -1;
		disk_owner_private(&o);
	}
	free(path);
	return rc == 0 ? output_begin(&j->out, &o, e) : -1;
}

/* The whole chain, newest first, until every page is there. */
static enum outcome
apply_chain(struct job *j, bool *gone, struct err *e)
{
	enum outcome o;
	size_t i;

	reset_image(j);
	if (begin_output(j, e) != 0)
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
	output_clear_sidecars(&j->out);
	rc = db_check_file(j->out.tmp, j->a->check == RESTORE_CHECK_FULL, &why);
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

	if (prove(j, res, e) != 0 || output_finish(&j->out,
	    (int64_t)j->commit * j->page_size, e) != 0)
		return -1;
	progress_end(&j->progress);
	if (integrity(j, e) != 0 || output_publish(&j->out, e) != 0)
		return -1;
	res->txid = j->plan.txid;
	res->timestamp_ms = newest->h.timestamp_ms;
	res->commit = j->commit;
	res->page_size = j->page_size;
	res->salt = j->salt;
	res->fingerprint = j->fingerprint;
	return 0;
}

/* From files of Litestream 0.3, which have no TXIDs. */
static int
restore_v3(struct job *j, const struct v3_choice *c,
    struct restore_result *res, struct err *e)
{
	if (v3_restore(c, &j->out, e) != 0) {
		if (e->kind == ERR_ABSENT)
			e->kind = ERR_SYSTEM;
		return -1;
	}
	if (integrity(j, e) != 0 || output_publish(&j->out, e) != 0)
		return -1;
	res->timestamp_ms = c->time_ms;
	return 0;
}

static void
abandon(struct job *j)
{
	progress_end(&j->progress);
	store_list_free(&j->list);
	plan_free(&j->plan);
	output_end(&j->out);
	free(j->have);
}

/* From the files in the list. */
static int
restore_ltx(struct job *j, struct restore_result *res, struct err *e)
{
	int rc;

	if (resolve(j->a, &j->list, &j->target, e) != 0)
		return -1;
	if (j->list.first_bad.kind != ERR_NONE)
		log_line(LOG_WARN, "damaged file in replica", "error",
		    j->list.first_bad.text, NULL);
	if (build(j, e) != 0)
		return -1;
	rc = finish(j, res, e);
	if (rc != 0 && e->kind == ERR_ABSENT)
		e->kind = ERR_SYSTEM;
	return rc;
}

int
restore_run(const struct restore_args *a, struct restore_result *res,
    struct err *e)
{
	struct job j = { .a = a };
	struct v3_choice old;
	int rc = -1, is_old;

	memset(res, 0, sizeof(*res));
	if (a->out != NULL && output_check(a->out, a->force, e) != 0)
		return -1;
	output_init(&j.out, a->out, a->force, a->fd);
	progress_init(&j.progress, a->progress);
	if (store_list(a->root, -1, &j.list, e) != 0)
		goto out;
	is_old = a->txid != 0 || a->out == NULL ? 0 :
	    v3_choose(a->root, &j.list, a->has_time, a->time_ms, &old, e);
	if (is_old == 1) {
		rc = restore_v3(&j, &old, res, e);
		v3_free(&old);
	} else if (is_old == 0)
		rc = restore_ltx(&j, res, e);
out:
	abandon(&j);
	return rc;
}
