/* SPDX-License-Identifier: ISC */
/*
 * What is done with the files of a replica.
 *
 * Chains for a merge are looked for in the level below first.  Where it has a
 * hole, any other chain to the same TXID does; where there is none, what leads
 * up to the hole is merged and a rebase is asked for.  An input that turns out
 * damaged is set aside as NAME.damaged, and the chain is looked for again
 * without it.  That name is kept until a snapshot that was taken later (by the
 * file system's own times of change), and reaches further, was read whole.
 *
 * Order: an output is durable (store.h) before any of its inputs is unlinked,
 * and nothing is unlinked but on the strength of a file that was read whole: a
 * snapshot for what lies before it, a file of level 1 for level 0.  A crash
 * leaves NAME.tmp, which pass_sweep_tmp() removes, or files that the next pass
 * deletes.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "merge.h"
#include "pass.h"
#include "plan.h"

#define NAME_LENGTH 33		/* MIN-MAX */
#define MAX_AT 17

/* Inputs of a merge, copied out of the list. */
struct chain {
	struct store_file *f;
	size_t n;
	uint64_t end;
};

static const char *
name(const struct pass *p)
{
	return p->db != NULL ? p->db : p->root;
}

static void
count(const struct pass *p, enum pass_counter what, uint64_t n)
{
	if (p->count != NULL)
		atomic_fetch_add(&p->count[what], n);
}

/* The list */

uint64_t
pass_max(const struct store_list *l, int level)
{
	uint64_t max = 0;
	size_t i;

	for (i = 0; i < l->n; i++)
		if (!l->file[i].bad && l->file[i].max_txid > max &&
		    (level < 0 || l->file[i].level == level))
			max = l->file[i].max_txid;
	return max;
}

const struct store_file *
pass_newest(const struct store_list *l, int level)
{
	uint64_t max = pass_max(l, level);
	size_t i;

	for (i = 0; i < l->n; i++)
		if (!l->file[i].bad && l->file[i].max_txid == max &&
		    (level < 0 || l->file[i].level == level))
			return &l->file[i];
	return NULL;
}

static void
add(struct store_list *l, const struct store_file *f)
{
	l->file = xrealloc(l->file, (l->n + 1) * sizeof(*l->file));
	l->file[l->n++] = *f;
}

static size_t
find(const struct store_list *l, const struct store_file *f)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (l->file[i].level == f->level &&
		    l->file[i].min_txid == f->min_txid &&
		    l->file[i].max_txid == f->max_txid)
			break;
	return i;
}

/* Damage */

static void
ask_rebase(struct pass *p, const char *why)
{
	if (p->why[0] == '\0')
		snprintf(p->why, sizeof(p->why), "%s", why);
}

/* Renames l.file[i] and takes it out of the list. */
static int
set_aside(struct pass *p, size_t i, const char *why, struct err *e)
{
	struct store_file *f = &p->l.file[i];
	char *path = store_path(p->root, f);
	int rc = 0;

	log_line(LOG_WARN, p->dry ? "damaged file" : "damaged file set aside",
	    "path", path, "error", why, NULL);
	if (!p->dry)
		rc = store_set_aside(p->root, f, 1, e);
	count(p, PASS_DAMAGED, 1);
	if (p->aside == 0)
		p->aside = 1;
	if (f->max_txid > p->aside && (!f->bad || (f->level == 0 &&
	    f->max_txid == pass_max(&p->l, -1) + 1)))
		p->aside = f->max_txid;
	memmove(f, f + 1, (--p->l.n - i) * sizeof(*f));
	free(path);
	return rc;
}

/* Reads a file of the list whole: 1; 0, and it has been set aside; -1. */
static int
prove(struct pass *p, const struct store_file *f, struct err *e)
{
	struct err why;

	if (merge_check(p->root, f, p->cancel, &why) == 0)
		return 1;
	if (why.kind == ERR_DAMAGED)
		return set_aside(p, find(&p->l, f), why.text, e);
	*e = why;
	return -1;
}

/* A file that cannot be read at the moment stays in the list, as bad. */
static int
drop_bad(struct pass *p, struct err *e)
{
	struct err why;
	size_t i;

	for (i = p->l.n; i-- > 0;) {
		if (!p->l.file[i].bad)
			continue;
		if (merge_check(p->root, &p->l.file[i], p->cancel,
		    &why) == 0)
			err_set(&why, ERR_DAMAGED,
			    "header does not fit the name");
		if (why.kind == ERR_DAMAGED &&
		    set_aside(p, i, why.text, e) != 0)
			return -1;
	}
	return 0;
}

int
pass_begin(struct pass *p, struct err *e)
{
	size_t i;

	if (store_list(p->root, -1, &p->l, e) != 0)
		return -1;
	for (i = 0; i < p->l.n; i++)
		if (p->l.file[i].unread) {	/* not now */
			*e = p->l.first_unread;
			return -1;
		}
	return drop_bad(p, e);
}

void
pass_end(struct pass *p)
{
	uint64_t to = pass_max(&p->l, -1);
	struct plan plan;
	struct err e;

	if (p->aside == 0)
		return;
	if (p->aside > to)
		to = p->aside;
	if (plan_make(&p->l, 0, to, &plan, &e) == 0)
		plan_free(&plan);
	else
		ask_rebase(p, e.text);
}

/* Merging */

static int
by_range(const void *pa, const void *pb)
{
	const struct store_file *a = pa, *b = pb;

	if (a->min_txid != b->min_txid)
		return a->min_txid < b->min_txid ? -1 : 1;
	return (a->max_txid < b->max_txid) - (a->max_txid > b->max_txid);
}

static void
chain_add(struct chain *ch, const struct store_file *f)
{
	ch->f[ch->n++] = *f;
	ch->end = f->max_txid;
}

/* The files of one level that continue the chain, as far as they do. */
static void
walk(const struct store_list *l, int level, struct chain *ch)
{
	struct store_file *f = xcalloc(l->n + 1, sizeof(*f)), *best = NULL;
	size_t i, n = 0;

	for (i = 0; i < l->n; i++)
		if (!l->file[i].bad && l->file[i].level == level &&
		    l->file[i].max_txid > ch->end)
			f[n++] = l->file[i];
	if (n > 0)
		qsort(f, n, sizeof(*f), by_range);
	for (i = 0;;) {
		for (; i < n && f[i].min_txid <= ch->end + 1; i++)
			if (best == NULL || f[i].max_txid > best->max_txid)
				best = &f[i];
		if (best == NULL || best->max_txid <= ch->end)
			break;
		chain_add(ch, best);
	}
	free(f);
}

/* What leads from from to to; ch->end tells how far it does, and why. */
static void
find_chain(const struct store_list *l, int level, uint64_t from, uint64_t to,
    struct chain *ch, struct err *why)
{
	struct plan plan;
	size_t i;

	ch->f = xcalloc(l->n + 1, sizeof(*ch->f));
	ch->n = 0;
	ch->end = from;
	if (level != STORE_SNAPSHOT)
		walk(l, level - 1, ch);
	if (ch->end == to || plan_make(l, from, to, &plan, why) != 0)
		return;
	for (ch->n = i = 0; i < plan.n; i++)
		chain_add(ch, &l->file[plan.file[i]]);
	plan_free(&plan);
}

static void
report(const struct pass *p, const struct store_file *f)
{
	count(p, PASS_FILES, 1);
	count(p, PASS_BYTES, f->size);
	if (f->level == STORE_SNAPSHOT)
		log_line(LOG_DEBUG, "snapshot complete", "db", name(p), "txid",
		    TXID(f->max_txid), "size", I64(f->size), NULL);
	else
		log_line(LOG_DEBUG, "compaction complete", "db", name(p),
		    "level", I64(f->level), "txid.min", TXID(f->min_txid),
		    "txid.max", TXID(f->max_txid), "size", I64(f->size), NULL);
}

/* A merge has met damage: 0, and the inputs that are damaged have been set
 * aside; 1 if none is; -1. */
static int
blame(struct pass *p, const struct chain *ch, struct err *e)
{
	size_t i;
	int rc, found = 0;

	for (i = 0; i < ch->n; i++) {
		if ((rc = prove(p, &ch->f[i], e)) < 0)
			return -1;
		found |= rc == 0;
	}
	return !found;
}

/* 1 done or not possible; 0 try again, without the files that were set aside;
 * -1. */
static int
try_merge(struct pass *p, int level, uint64_t from, uint64_t to,
    struct err *e)
{
	struct store_file out;
	struct chain ch;
	struct err why;
	int rc = 1;

	find_chain(&p->l, level, from, to, &ch, &why);
	if (ch.end != to)
		ask_rebase(p, why.text);
	if (ch.n == 0)
		goto out;
	if (merge_files(p->root, ch.f, ch.n, level, from + 1, p->owner,
	    p->cancel, &out, &why) == 0) {
		add(&p->l, &out);
		report(p, &out);
	} else if (why.kind != ERR_DAMAGED) {
		*e = why;
		rc = -1;
	} else if ((rc = blame(p, &ch, e)) == 1)
		ask_rebase(p, why.text);
out:
	free(ch.f);
	return rc;
}

int
pass_bring_up(struct pass *p, int level, struct err *e)
{
	int below = level == STORE_SNAPSHOT ? -1 : level - 1, rc = 0;
	uint64_t max, to;

	while (rc == 0) {
		max = pass_max(&p->l, level);
		to = pass_max(&p->l, below);
		if (to <= max)
			return 0;
		rc = try_merge(p, level, level == STORE_SNAPSHOT ? 0 : max,
		    to, e);
	}
	return rc < 0 ? -1 : 0;
}

/* Deleting */

static int
prove_snapshot(struct pass *p, const struct store_file *f,
    struct pass_proofs *proofs, struct err *e)
{
	uint64_t txid = f->max_txid;
	int rc = 1;

	if (txid != proofs->snapshot && (rc = prove(p, f, e)) == 1)
		proofs->snapshot = txid;
	return rc;
}

/* The file of level 1 that has this TXID. */
static int
prove_l1(struct pass *p, uint64_t txid, struct pass_proofs *proofs,
    struct err *e)
{
	uint64_t min, max;
	size_t i;
	int rc;

	if (txid >= proofs->l1_min && txid <= proofs->l1_max)
		return 1;
	for (i = 0; i < p->l.n && (p->l.file[i].bad ||
	    p->l.file[i].level != 1 || p->l.file[i].min_txid > txid ||
	    p->l.file[i].max_txid < txid); i++)
		;
	min = p->l.file[i].min_txid;
	max = p->l.file[i].max_txid;
	if ((rc = prove(p, &p->l.file[i], e)) != 1)
		return rc;
	if (min > proofs->l1_max + 1 || max <= proofs->l1_max)
		proofs->l1_min = min;
	proofs->l1_max = max;
	return 1;
}

/* Whether everything that the marks rest on is whole: 1; 0, and the list has
 * changed; -1. */
static int
prove_marks(struct pass *p, const bool *go, const struct store_file *base,
    struct pass_proofs *proofs, struct err *e)
{
	size_t i;
	int rc = 1;

	for (i = 0; i < p->l.n; i++)
		if (go[i] && p->l.file[i].level > 0) {
			rc = prove_snapshot(p, base, proofs, e);
			break;
		}
	for (i = 0; rc == 1 && i < p->l.n; i++)
		if (go[i] && p->l.file[i].level == 0)
			rc = prove_l1(p, p->l.file[i].max_txid, proofs, e);
	return rc;
}

int
pass_choose(struct pass *p, const struct retain_rule *r,
    struct pass_proofs *proofs, bool **go, struct err *e)
{
	const struct store_file *base;
	int rc;

	for (;;) {
		*go = xcalloc(p->l.n + 1, sizeof(**go));
		retain_choose(r, &p->l, *go, &base);
		rc = prove_marks(p, *go, base, proofs, e);
		if (rc == 1)
			return 0;
		free(*go);
		*go = NULL;
		if (rc < 0)
			return -1;
	}
}

/* The largest last TXID first. */
static int
from_the_end(const void *pa, const void *pb)
{
	const struct store_file *a = *(const struct store_file *const *)pa;
	const struct store_file *b = *(const struct store_file *const *)pb;

	return (a->max_txid < b->max_txid) - (a->max_txid > b->max_txid);
}

/* The entry of a level that is at path, if it is there. */
static int
delete_one(struct pass *p, int level, const char *path, struct err *e)
{
	int at = store_open_level(p->root, level, e), rc;

	if (at < 0)
		return e->kind == ERR_ABSENT ? 0 : -1;
	rc = disk_unlink_in(at, path_base(path), path, e);
	close(at);
	return rc;
}

/* The n files, all of one level, durably. */
static int
delete_files(struct pass *p, const struct store_file *const *f, size_t n,
    struct err *e)
{
	char *dir = xasprintf("%s/ltx/%d", p->root, f[0]->level), *path;
	int at = store_open_level(p->root, f[0]->level, e), rc = 0;
	size_t i;

	if (at < 0)
		rc = e->kind == ERR_ABSENT ? 0 : -1;
	for (i = 0; at >= 0 && rc == 0 && i < n; i++) {
		path = store_path(p->root, f[i]);
		rc = disk_unlink_in(at, path_base(path), path, e);
		free(path);
	}
	if (at >= 0 && rc == 0)
		rc = disk_sync_in(at, dir, e);
	if (at >= 0)
		close(at);
	free(dir);
	return rc;
}

int
pass_delete(struct pass *p, const bool *go, struct err *e)
{
	const struct store_file **f = xcalloc(p->l.n + 1, sizeof(*f));
	size_t i, k, n = 0, gone, kept = 0;
	int rc = 0;

	for (i = 0; i < p->l.n; i++)
		if (go[i])
			f[n++] = &p->l.file[i];
	/* A chain ends with its largest TXID, so whatever is left at any
	 * moment has all that it stands on; so that it has it after a crash of
	 * the machine, too, each directory is synced before the next. */
	qsort(f, n, sizeof(*f), from_the_end);
	for (gone = 0; gone < n && rc == 0; gone += k) {
		for (k = 1; gone + k < n &&
		    f[gone + k]->level == f[gone]->level; k++)
			continue;
		rc = delete_files(p, f + gone, k, e);
		if (rc == 0)
			count(p, PASS_DELETED, k);
	}
	free(f);
	for (i = 0; i < p->l.n; i++)
		if (!go[i] || rc != 0)
			p->l.file[kept++] = p->l.file[i];
	p->l.n = kept;
	if (rc == 0 && n > 0)
		log_line(LOG_DEBUG, "retention enforced", "db", name(p),
		    "deleted_count", I64(n), NULL);
	return rc;
}

/* Leftovers */

static bool
ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

/* The paths of a level's directory that end so, NULL at the end. */
static char **
leftovers(const struct pass *p, int level, const char *end)
{
	char *dir = xasprintf("%s/ltx/%d", p->root, level);
	char **path = xcalloc(1, sizeof(*path));
	struct err ignored;
	int fd = store_open_level(p->root, level, &ignored);
	DIR *dp = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *d;
	size_t n = 0;

	if (fd >= 0 && dp == NULL)
		close(fd);
	while (dp != NULL && (d = readdir(dp)) != NULL)
		if (ends_in(d->d_name, end)) {
			path = xrealloc(path, (n + 2) * sizeof(*path));
			path[n++] = xasprintf("%s/%s", dir, d->d_name);
			path[n] = NULL;
		}
	if (dp != NULL)
		closedir(dp);
	free(dir);
	return path;
}

static void
free_paths(char **path)
{
	size_t i;

	for (i = 0; path[i] != NULL; i++)
		free(path[i]);
	free(path);
}

int
pass_sweep_tmp(struct pass *p, struct err *e)
{
	char **path;
	size_t i;
	int level, rc = 0;

	for (level = 1; rc == 0 && level < STORE_LEVELS; level++) {
		path = leftovers(p, level, ".tmp");
		for (i = 0; rc == 0 && path[i] != NULL; i++)
			rc = delete_one(p, level, path[i], e);
		free_paths(path);
	}
	return rc;
}

/* Whether NAME.damaged has lost its worth: 1, 0, -1. */
static int
outlived(struct pass *p, const char *path, struct pass_proofs *proofs,
    struct err *e)
{
	const struct store_file *f = pass_newest(&p->l, STORE_SNAPSHOT);
	const char *base = path_base(path);
	struct disk_stat a, b;
	char *snapshot;
	int rc;

	if (f == NULL || strlen(base) < NAME_LENGTH ||
	    strtoull(base + MAX_AT, NULL, 16) >= f->max_txid)
		return 0;
	snapshot = store_path(p->root, f);
	rc = disk_stat(path, &a, e) == 0 && disk_stat(snapshot, &b, e) == 0 ?
	    b.ctime_ns > a.ctime_ns : -1;
	free(snapshot);
	return rc == 1 ? prove_snapshot(p, f, proofs, e) : rc;
}

int
pass_sweep_damaged(struct pass *p, struct pass_proofs *proofs, struct err *e)
{
	char **path;
	size_t i;
	int level, rc = 0;

	for (level = 0; rc == 0 && level < STORE_LEVELS; level++) {
		path = leftovers(p, level, ".ltx.damaged");
		for (i = 0; rc == 0 && path[i] != NULL; i++) {
			rc = outlived(p, path[i], proofs, e);
			if (rc == 1)
				rc = delete_one(p, level, path[i], e);
		}
		free_paths(path);
	}
	return rc;
}
