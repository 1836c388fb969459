/* SPDX-License-Identifier: ISC */
/*
 * Which files make a restore point, and which point a time means.
 *
 * Chain: the base is the snapshot that reaches furthest without passing the
 * target, if there is one.  From there on, of all files that continue the
 * chain without a hole (min <= reached + 1), the one that reaches furthest is
 * next.  A file that overlaps what is already there is harmless, since it
 * holds the newest form of all pages that changed in its range.  So reaching
 * further never takes a choice away, and this greedy walk finds a chain
 * whenever there is one: no search is needed after a file turns out bad, only
 * the same walk without it.
 *
 * What existed is told by all names, also those of bad files.  The newest
 * state is the largest TXID of any name, so that the loss of the newest file's
 * content is an error and never an older state.
 *
 * Time: stamps are clocks, and clocks are set.  The points in the order of
 * their TXIDs should have ascending stamps; where they do not, the heaviest
 * non-decreasing run of them is taken for the clock's own course, and the rest
 * for the time while it was wrong.  A Fenwick tree over the ranks of the
 * stamps finds the run in n log n.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

#define NAMED_POINTS 8		/* in the line about doubtful stamps */

static const char no_backup[] = "no matching backup files available";

/* Ascending min; among equal ones the better comes first. */
static int
order_by_min(const void *pa, const void *pb)
{
	const struct store_file *a = *(const struct store_file *const *)pa;
	const struct store_file *b = *(const struct store_file *const *)pb;

	if (a->min_txid != b->min_txid)
		return a->min_txid < b->min_txid ? -1 : 1;
	if (a->max_txid != b->max_txid)
		return a->max_txid > b->max_txid ? -1 : 1;
	if (a->level != b->level)
		return b->level - a->level;
	return a->mtime_ms < b->mtime_ms ? -1 : a->mtime_ms > b->mtime_ms;
}

static bool
usable(const struct store_file *f, uint64_t to)
{
	return !f->bad && f->min_txid != 0 && f->min_txid <= f->max_txid &&
	    f->max_txid <= to;
}

/* The snapshot that reaches furthest, or NULL. */
static const struct store_file *
find_base(const struct store_list *l, uint64_t to)
{
	const struct store_file *base = NULL, *f;
	size_t i;

	for (i = 0; i < l->n; i++) {
		f = &l->file[i];
		if (f->level == STORE_SNAPSHOT && f->min_txid == 1 &&
		    usable(f, to) &&
		    (base == NULL || f->max_txid > base->max_txid))
			base = f;
	}
	return base;
}

/*
 * From *reached as far as it goes, at most to to.  The candidates ascend in
 * min, so those that continue the chain are a growing prefix, and the best of
 * it is known from the best so far.
 */
static void
walk(const struct store_list *l, int top_level, uint64_t to,
    struct plan *p, uint64_t *reached)
{
	const struct store_file **c, *best = NULL, *f;
	size_t i, n = 0;

	c = xcalloc(l->n + 1, sizeof(*c));
	for (i = 0; i < l->n; i++)
		if (l->file[i].level <= top_level && usable(&l->file[i], to))
			c[n++] = &l->file[i];
	qsort(c, n, sizeof(*c), order_by_min);
	for (i = 0; *reached < to;) {
		for (; i < n && c[i]->min_txid <= *reached + 1; i++) {
			f = c[i];
			if (best == NULL || f->max_txid > best->max_txid)
				best = f;
		}
		if (best == NULL || best->max_txid <= *reached)
			break;
		p->file[p->n++] = (size_t)(best - l->file);
		*reached = best->max_txid;
	}
	free(c);
}

/* The first TXID after reached at which a file that is not bad starts, and
 * whether a bad file lies between. */
static uint64_t
next_start(const struct store_list *l, uint64_t reached, uint64_t to,
    bool *damaged)
{
	const struct store_file *f;
	uint64_t next = 0;
	size_t i;

	*damaged = false;
	for (i = 0; i < l->n; i++) {
		f = &l->file[i];
		if (f->max_txid <= reached || f->max_txid > to)
			continue;
		if (f->bad)
			*damaged = true;
		else if (f->min_txid > reached + 1 &&
		    (next == 0 || f->min_txid < next))
			next = f->min_txid;
	}
	return next;
}

/* Whether to is older than all that is kept on purpose: no file ends there, or
 * what led to it lies below the oldest snapshot. */
static bool
not_kept(const struct store_list *l, uint64_t to)
{
	const struct store_file *f;
	uint64_t oldest = 0;
	bool covered = false, ends = false;
	size_t i;

	for (i = 0; i < l->n; i++) {
		f = &l->file[i];
		if (f->max_txid == to)
			ends = true;
		if (f->min_txid <= to && f->max_txid >= to)
			covered = true;
		if (f->level == STORE_SNAPSHOT && !f->bad &&
		    (oldest == 0 || f->max_txid < oldest))
			oldest = f->max_txid;
	}
	return to > store_max_txid(l) || to < oldest || (covered && !ends);
}

static int
explain(const struct store_list *l, uint64_t reached, uint64_t to,
    struct err *e)
{
	uint64_t next;
	bool damaged;
	const char *sep, *why;
	enum err_kind kind;

	next = next_start(l, reached, to, &damaged);
	if (!damaged && not_kept(l, to))
		return err_set(e, ERR_ABSENT, "%s: transaction %s is not "
		    "available", no_backup, TXID(to));
	kind = l->first_bad.kind == ERR_SYSTEM ? ERR_SYSTEM : ERR_DAMAGED;
	sep = damaged && l->first_bad.kind != ERR_NONE ? ": " : "";
	why = *sep != '\0' ? l->first_bad.text : "";
	if (next == 0)
		return err_set(e, kind, "non-contiguous ltx files: "
		    "have up to %s but need %s%s%s", TXID(reached), TXID(to),
		    sep, why);
	return err_set(e, kind, "non-contiguous ltx files: have up to "
	    "%s but next file starts at %s%s%s", TXID(reached), TXID(next),
	    sep, why);
}

int
plan_make(const struct store_list *l, uint64_t from, uint64_t to,
    struct plan *p, struct err *e)
{
	const struct store_file *base;
	uint64_t reached = from;

	memset(p, 0, sizeof(*p));
	if (l->n == 0)
		return err_set(e, ERR_ABSENT, "%s", no_backup);
	if (to == 0)
		to = store_max_txid(l);
	if (to == 0)
		return err_set(e, ERR_DAMAGED, "%s", l->first_bad.text);
	p->file = xcalloc(l->n + 1, sizeof(*p->file));
	base = from == 0 ? find_base(l, to) : NULL;
	if (base != NULL) {
		p->file[p->n++] = (size_t)(base - l->file);
		reached = base->max_txid;
	}
	walk(l, STORE_SNAPSHOT - 1, to, p, &reached);
	if (reached < to && from != 0) {
		/* A snapshot has whatever is missing in between. */
		p->n = 0;
		reached = from;
		walk(l, STORE_SNAPSHOT, to, p, &reached);
	}
	p->txid = reached;
	if (reached == to)
		return 0;
	plan_free(p);
	return explain(l, reached, to, e);
}

void
plan_free(struct plan *p)
{
	free(p->file);
	memset(p, 0, sizeof(*p));
}

static int
order_points(const void *pa, const void *pb)
{
	const struct plan_point *a = pa, *b = pb;

	if (a->txid != b->txid)
		return a->txid < b->txid ? -1 : 1;
	return a->timestamp_ms < b->timestamp_ms ? -1 :
	    a->timestamp_ms > b->timestamp_ms;
}

static int
order_stamps(const void *pa, const void *pb)
{
	int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;

	return a < b ? -1 : a > b;
}

/* The best run that ends in a point, for points whose stamp has this rank. */
struct run {
	uint64_t weight;
	size_t end;	/* index of its last point, plus 1; 0: no run */
};

static void
keep_heavier(struct run *best, struct run r)
{
	if (r.weight > best->weight ||
	    (r.weight == best->weight && r.end > best->end))
		*best = r;
}

/* How many of the n sorted stamps are <= t. */
static size_t
rank_of(const int64_t *stamp, size_t n, int64_t t)
{
	size_t lo = 0, hi = n, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (stamp[mid] <= t)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Sets in_run.  The weights add up to the last TXID, so they cannot wrap. */
static void
mark_run(struct plan_point *p, size_t n)
{
	struct run *tree, best, all = { 0, 0 };
	int64_t *stamp;
	size_t *before, i, k;

	tree = xcalloc(n + 1, sizeof(*tree));
	stamp = xcalloc(n + 1, sizeof(*stamp));
	before = xcalloc(n + 1, sizeof(*before));
	for (i = 0; i < n; i++)
		stamp[i] = p[i].timestamp_ms;
	qsort(stamp, n, sizeof(*stamp), order_stamps);
	for (i = 0; i < n; i++) {
		k = rank_of(stamp, n, p[i].timestamp_ms);
		best = (struct run){ 0, 0 };
		for (size_t j = k; j > 0; j &= j - 1)
			keep_heavier(&best, tree[j]);
		before[i] = best.end;
		best.weight += p[i].txid - (i > 0 ? p[i - 1].txid : 0);
		best.end = i + 1;
		keep_heavier(&all, best);
		for (; k <= n; k += k & (~k + 1))
			keep_heavier(&tree[k], best);
	}
	for (i = all.end; i > 0; i = before[i - 1])
		p[i - 1].in_run = true;
	free(tree);
	free(stamp);
	free(before);
}

int
plan_points(const struct store_list *l, struct plan_point **pp, size_t *np)
{
	struct plan_point *p;
	size_t i, n = 0, kept = 0;

	p = xcalloc(l->n + 1, sizeof(*p));
	for (i = 0; i < l->n; i++) {
		if (!usable(&l->file[i], UINT64_MAX))
			continue;
		p[n].txid = l->file[i].max_txid;
		p[n++].timestamp_ms = l->file[i].h.timestamp_ms;
	}
	qsort(p, n, sizeof(*p), order_points);
	for (i = 0; i < n; i++)
		if (kept == 0 || p[i].txid != p[kept - 1].txid)
			p[kept++] = p[i];
	mark_run(p, kept);
	*pp = p;
	*np = kept;
	return 0;
}

/* A line naming the points outside the run that would have the state at
 * time_ms on the other side of the chosen one; NULL if there is none. */
static char *
doubt_line(const struct plan_point *p, size_t n, uint64_t chosen,
    int64_t time_ms)
{
	char *line = NULL, *longer;
	size_t i, named = 0;

	for (i = 0; i < n; i++) {
		if (p[i].in_run || (p[i].txid <= chosen) ==
		    (p[i].timestamp_ms <= time_ms))
			continue;
		if (named++ >= NAMED_POINTS)
			continue;
		longer = xasprintf("%s%s%s", line != NULL ? line : "",
		    line != NULL ? ", " : "the clock was set: other times "
		    "are carried by transactions ", TXID(p[i].txid));
		free(line);
		line = longer;
	}
	if (named > NAMED_POINTS) {
		longer = xasprintf("%s and %zu more", line,
		    named - NAMED_POINTS);
		free(line);
		line = longer;
	}
	return line;
}

/* Whether a good file holds txid. */
static bool
held(const struct store_list *l, uint64_t txid)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (usable(&l->file[i], UINT64_MAX) &&
		    l->file[i].min_txid <= txid && l->file[i].max_txid >= txid)
			return true;
	return false;
}

/* T is before the first point of the run. */
static int
too_early(const struct plan_point *p, size_t n, struct err *e)
{
	char from[TEXT_SIZE], to[TEXT_SIZE];
	size_t first = n, last = n, i;

	for (i = 0; i < n; i++) {
		if (!p[i].in_run)
			continue;
		if (first == n)
			first = i;
		last = i;
	}
	return err_set(e, ERR_ABSENT, "timestamp does not exist: kept is %s "
	    "to %s", time_text(from, p[first].timestamp_ms, true),
	    time_text(to, p[last].timestamp_ms, true));
}

/* Whether all stamps are before that time. */
static bool
after_all(const struct plan_point *p, size_t n, int64_t time_ms)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i].timestamp_ms > time_ms)
			return false;
	return true;
}

/* A newest point that is not the newest TXID is a gap like any other. */
static int
held_to_end(const struct store_list *l, uint64_t txid, struct err *e)
{
	if (txid == store_max_txid(l) || held(l, txid + 1))
		return 0;
	err_set(e, ERR_DAMAGED, "the state at that time is uncertain: "
	    "transaction %s is missing or damaged", TXID(txid + 1));
	err_hint(e, "-txid %s, the last state before it", TXID(txid));
	return -1;
}

int
plan_at_time(const struct store_list *l, int64_t time_ms, uint64_t *txid,
    char **doubt, struct err *e)
{
	struct plan_point *p = NULL;
	size_t i, n = 0;
	int rc = -1;

	*txid = 0;
	*doubt = NULL;
	if (l->n == 0)
		return err_set(e, ERR_ABSENT, "no backups found");
	plan_points(l, &p, &n);
	if (n == 0) {
		err_set(e, ERR_DAMAGED, "no file of the replica is readable: "
		    "%s", l->first_bad.text);
		goto out;
	}
	for (i = 0; i < n; i++)
		if (p[i].in_run && p[i].timestamp_ms <= time_ms)
			*txid = p[i].txid;
	if (after_all(p, n, time_ms)) {
		*txid = p[n - 1].txid;	/* no question of clocks */
		rc = held_to_end(l, *txid, e);
		goto out;
	}
	if (*txid == 0) {
		too_early(p, n, e);
		goto out;
	}
	if (held_to_end(l, *txid, e) != 0)
		goto out;
	*doubt = doubt_line(p, n, *txid, time_ms);
	rc = 0;
out:
	free(p);
	return rc;
}
