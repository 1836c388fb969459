/* SPDX-License-Identifier: ISC */
/*
 * What the files of a replica say together, each of them being proven.
 *
 * - In each level no TXIDs are missing between two files, above the oldest
 *   snapshot's (retention may leave holes below), unless the file behind the
 *   hole is a full image: with that a new chain began.
 * - A file that begins at N + 1 continues the state in which another ended at
 *   N: same salt, pre-fingerprint equal to the post-fingerprint there; and
 *   files that end in the same TXID and know the same salt, end in the same
 *   state.
 * - A file by which the database grew has the pages by which it grew.
 * - Each point not older than the oldest snapshot has a plan.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "findings.h"

struct state {
	const char *root;
	const struct store_list *l;
	struct verify_report *r;
	const struct store_file **by_end;	/* the good ones */
	size_t good;
};

static void
add_line(char ***list, size_t *n, size_t *cap, char *line)
{
	*list = xgrow(*list, *n, cap, sizeof(**list));
	(*list)[(*n)++] = line;
}

void
findings_problem(struct verify_report *r, char *line)
{
	add_line(&r->problem, &r->problems, &r->problem_cap, line);
}

static void
add_note(struct verify_report *r, char *line)
{
	add_line(&r->note, &r->notes, &r->note_cap, line);
}

static void
clear_lines(char **list, size_t *n)
{
	while (*n > 0)
		free(list[--*n]);
}

void
findings_clear(struct verify_report *r)
{
	clear_lines(r->problem, &r->problems);
	clear_lines(r->note, &r->notes);
	free(r->point);
	r->point = NULL;
	r->gaps = r->points = r->links = r->unknown_links = 0;
}

static int
by_end(const void *pa, const void *pb)
{
	const struct store_file *a = *(const struct store_file *const *)pa;
	const struct store_file *b = *(const struct store_file *const *)pb;

	return (a->max_txid > b->max_txid) - (a->max_txid < b->max_txid);
}

static void
sort_by_end(struct state *s)
{
	size_t i;

	s->by_end = xcalloc(s->l->n + 1, sizeof(*s->by_end));
	for (i = 0; i < s->l->n; i++)
		if (!s->l->file[i].bad)
			s->by_end[s->good++] = &s->l->file[i];
	qsort(s->by_end, s->good, sizeof(*s->by_end), by_end);
}

/* The first good file that ends in txid, or later. */
static size_t
find_end(const struct state *s, uint64_t txid)
{
	size_t lo = 0, hi = s->good, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (s->by_end[mid]->max_txid < txid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Where the window begins: the end of the oldest good snapshot, or 0. */
static uint64_t
oldest_snapshot(const struct state *s)
{
	size_t i;

	for (i = 0; i < s->good; i++)
		if (s->by_end[i]->level == STORE_SNAPSHOT)
			return s->by_end[i]->max_txid;
	return 0;
}

/* Whether higher levels have it: what retention, interrupted, may leave. */
static bool
is_covered(const struct state *s, const struct verify_gap *g)
{
	const struct store_file *f;
	uint64_t reached = g->min_txid - 1;
	size_t i;

	for (i = 0; i < s->good; i++) {
		f = s->by_end[i];
		if (f->level > g->level && f->min_txid - 1 <= reached &&
		    f->max_txid > reached)
			reached = f->max_txid;
	}
	return reached >= g->max_txid;
}

static void
find_gaps(struct state *s, uint64_t floor)
{
	struct verify_report *r = s->r;
	const struct store_file *f;
	struct verify_gap *g;
	uint64_t reached = 0;
	int level = -1;
	size_t i;

	for (i = 0; i < r->n && r->file[i].f.level < STORE_SNAPSHOT; i++) {
		f = &r->file[i].f;
		if (f->level != level)
			reached = f->max_txid;
		level = f->level;
		if (f->min_txid > reached && f->min_txid - 1 > reached &&
		    f->min_txid - 1 > floor) {
			r->gap = xgrow(r->gap, r->gaps, &r->gap_cap,
			    sizeof(*r->gap));
			g = &r->gap[r->gaps++];
			g->level = level;
			g->min_txid = reached + 1;
			g->max_txid = f->min_txid - 1;
			g->closed = (!f->bad && r->file[i].from == 0) ||
			    is_covered(s, g);
		}
		if (f->max_txid > reached)
			reached = f->max_txid;
	}
}

/* What f says about the state that it continues, or ends in. */
static void
check_links(struct state *s, const struct verify_file *v)
{
	const struct store_file *f = &v->f, *b;
	char *path = store_path(s->root, f);
	uint32_t before = 0;
	bool known = false;
	size_t i;

	for (i = find_end(s, f->min_txid - 1); f->min_txid > 1 && i < s->good &&
	    s->by_end[i]->max_txid == f->min_txid - 1; i++) {
		b = s->by_end[i];
		if (b->h.commit > before && b->h.page_size == f->h.page_size)
			before = b->h.commit;
		if (f->h.salt == 0 || f->h.pre_fingerprint == 0 ||
		    b->h.salt == 0)
			continue;
		known = true;
		if (store_contradicts(b, f))
			findings_problem(s->r, xasprintf("%s: does not "
			    "continue the state in which level %d ends at "
			    "TXID %s", path, b->level, TXID(b->max_txid)));
	}
	s->r->links += known;
	s->r->unknown_links += !known && f->min_txid > 1;
	if (before > 0 && v->from > before)
		findings_problem(s->r, xasprintf("%s: lacks page %" PRIu32
		    ", by which the database grew", path, v->from));
	for (i = find_end(s, f->max_txid); i < s->good &&
	    s->by_end[i]->max_txid == f->max_txid; i++) {
		b = s->by_end[i];
		if (b->level < f->level && f->h.salt != 0 &&
		    b->h.salt == f->h.salt &&
		    b->h.post_fingerprint != f->h.post_fingerprint)
			findings_problem(s->r, xasprintf("%s: ends in another "
			    "state than the file of level %d", path,
			    b->level));
	}
	free(path);
}

static void
find_points(struct state *s, uint64_t floor)
{
	struct verify_report *r = s->r;
	size_t i, k;

	points_make(s->l, &r->point, &r->points);
	for (i = 0; i < r->points; i = k) {
		k = i + 1;
		if (r->point[i].restorable || r->point[i].txid <= floor)
			continue;
		while (k < r->points && !r->point[k].restorable)
			k++;
		findings_problem(r, xasprintf("TXIDs %s to %s cannot be "
		    "restored: no chain of files leads there",
		    TXID(r->point[i].txid), TXID(r->point[k - 1].txid)));
	}
}

/* Level 0 must have the newest TXID: the numbering goes on from there. */
static void
check_level0(struct state *s)
{
	uint64_t end = 0, newest;
	size_t i;

	newest = s->good > 0 ? s->by_end[s->good - 1]->max_txid : 0;
	for (i = 0; i < s->l->n && s->l->file[i].level == 0; i++)
		end = s->l->file[i].max_txid;
	if (newest > end)
		add_note(s->r, xasprintf("level 0 ends at TXID %s, other "
		    "levels at %s: its newest file is lost, or a new chain "
		    "was not finished", TXID(end), TXID(newest)));
}

void
findings_look(const char *root, const struct store_list *l,
    struct verify_report *r)
{
	struct state s = { .root = root, .l = l, .r = r };
	uint64_t floor;
	size_t i;

	findings_clear(r);
	sort_by_end(&s);
	floor = oldest_snapshot(&s);
	find_gaps(&s, floor);
	find_points(&s, floor);
	r->damaged = false;
	for (i = 0; i < r->n; i++)
		if (r->file[i].why == NULL)
			check_links(&s, &r->file[i]);
		else
			r->damaged = true;
	check_level0(&s);
	for (i = 0; i < r->gaps; i++)
		r->damaged |= !r->gap[i].closed;
	r->damaged |= r->problems > 0;
	free(s.by_end);
}
