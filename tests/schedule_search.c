/* SPDX-License-Identifier: ISC */
/*
 * The schedule explorer's search: every element in every state, to a depth.
 *
 * The states that were met are the nodes of a graph, the elements its edges.
 * For each depth in turn, a tour tries, wherever it is, what was not tried
 * there; where nothing is left it goes on over known edges to a node near by
 * with something left, or else begins anew and replays the way to one.  So
 * most elements cost themselves, not the schedule before them.  Operations
 * with points are gone through from point to point, each a node, as if each
 * schedule to one of them had been run alone.
 *
 * When are two situations the same state?  If they agree in
 *  - who is open and reads, and the operation and point where we stand;
 *  - the locks on the -shm, and the marks that are held;
 *  - mxFrame, backfill, those marks, consumed, saved and the frames in the
 *    file, by their order; and the identity of the salts;
 *  - whether file, index and replica have fewer, more or as many pages as the
 *    newest image, and whether the file is that image;
 *  - doubt, tail, what is known of the file, whether a comparison is due, and
 *    what is saved, if that can be of use to a start: else it is forgotten.
 * Coarse: but for the frames in the file, its being that image, and sizes.
 * Not in it: numbers of frames, pages and TXIDs, salts, times and contents.
 * Nothing that the modules do depends on them, but on their order and equality;
 * contents are random, and rows are touched in turn, so that one page is as
 * good as another.  What the order does not tell (a page that is in this
 * frame or in that) is assumed not to matter.  How far that holds is measured:
 * when an edge is walked again, mostly with another history behind it, it
 * must lead to where it led; how often it did not is printed, the state
 * that it did lead to is searched like any other, and the walks (schedule.c)
 * assume nothing.
 *
 * What is not tried, since it is the same as something that is:
 *  - a stop before the sync of the database, or in the sleep of a window.  The
 *    code from there to the next point changes nothing that others see and
 *    reads at most the index, for a result that is only handed up: it commutes
 *    with every element.  So what could come there is tried at the next point
 *    (or at the end) with the same effect;
 *  - a kill, if the state that it leads to is known: that of the files and the
 *    application, without our locks and memory, which can be computed;
 *  - the checks, but at the end of an operation, once in each state.  At the
 *    last depth one that is under way is run to its end, and killed; at others
 *    both are elements.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../util.h"
#include "schedule.h"

#define NONE UINT32_MAX
#define OUTSIDE 254		/* depth of what the alphabet does not reach */
#define MAX_POINT 60
#define LONG 48			/* tour; few begin behind so many elements */
#define HOPS 400		/* nodes looked at for one near by */

struct edge {
	uint32_t to;
	struct element by;
	bool loose;		/* it once led elsewhere */
};

struct node {
	uint64_t key, killed;
	struct edge *edge;
	size_t edges, cap;
	uint32_t parent, todo;
	struct element by;
	uint8_t depth, trail_n;
	struct element *trail;	/* that led to it first */
};

struct search {
	const struct search_config *cf;
	struct node *node;
	size_t n, cap;
	uint32_t *table;	/* by key; room is a power of two */
	size_t room;
	uint8_t level;		/* the depth that is completed now */
	uint32_t bit_step, bit_run, bit_kill, barred;

	struct schedule trail;	/* of this tour */
	uint32_t at, cursor;

	uint64_t tried, hops, astray, lost, foretold;
};

static uint32_t *
slot(struct search *s, uint64_t key)
{
	size_t k = key & (s->room - 1);

	while (s->table[k] != NONE && s->node[s->table[k]].key != key)
		k = (k + 1) & (s->room - 1);
	return &s->table[k];
}

static void
make_room(struct search *s)
{
	size_t i;

	if (2 * s->n < s->room)
		return;
	s->room = s->room == 0 ? 4096 : 2 * s->room;
	free(s->table);
	s->table = xmalloc(s->room * sizeof *s->table);
	memset(s->table, 0xff, s->room * sizeof *s->table);
	for (i = 0; i < s->n; i++)
		*slot(s, s->node[i].key) = (uint32_t)i;
}

static uint32_t
possible(void)
{
	struct element el = { 0, 0, 0 };
	uint32_t mask = 0;

	for (; el.op < OPS; el.op++)
		mask |= (uint32_t)world_possible(&el) << el.op;
	return mask;
}

/* The node of the situation as it is, new or not. */
static uint32_t
here(struct search *s, bool *new)
{
	uint64_t killed, key = world_key(s->cf->coarse, &killed);
	uint32_t *at;
	struct node *v;

	make_room(s);
	at = slot(s, key);
	*new = *at == NONE;
	if (!*new)
		return *at;
	*at = (uint32_t)s->n;
	s->node = xgrow(s->node, s->n, &s->cap, sizeof *s->node);
	v = &s->node[s->n++];
	memset(v, 0, sizeof *v);
	v->key = key;
	v->killed = killed;
	v->depth = OUTSIDE;
	v->todo = possible() & (~s->barred | s->bit_run | s->bit_kill);
	v->trail_n = (uint8_t)s->trail.n;
	v->trail = xmalloc((s->trail.n + 1) * sizeof *v->trail);
	memcpy(v->trail, s->trail.e, s->trail.n * sizeof *v->trail);
	return *at;
}

/* There is a way to a node; shorter than before?  Then to those behind it,
 * too. */
static void
shorter(struct search *s, uint32_t from, const struct edge *e)
{
	struct node *v = &s->node[e->to];
	size_t i;

	if ((s->barred >> e->by.op & 1) != 0 ||
	    v->depth <= s->node[from].depth + 1)
		return;
	v->depth = s->node[from].depth + 1;
	v->parent = from;
	v->by = e->by;
	for (i = 0; i < v->edges; i++)
		shorter(s, e->to, &v->edge[i]);
}

static void
connect(struct search *s, uint32_t from, uint32_t to, struct element by)
{
	struct node *v = &s->node[from];
	struct edge *e;

	v->edge = xgrow(v->edge, v->edges, &v->cap, sizeof *v->edge);
	e = &v->edge[v->edges++];
	e->to = to;
	e->by = by;
	e->loose = false;
	shorter(s, from, e);
}

static uint32_t
left(const struct search *s, const struct node *v)
{
	if (v->depth < s->level)
		return (s->barred & s->bit_step) ? v->todo :
		    v->todo & ~s->bit_run;
	return v->depth == s->level ? v->todo & (s->bit_run | s->bit_kill) : 0;
}

/* Whether the tour may go on. */
static bool
sound(struct search *s)
{
	if (world_failure()[0] == '\0')
		return true;
	search_failed(&s->trail);
	return false;
}

/* At the end of an operation a new state is checked, which ends the tour. */
static bool
check(struct search *s)
{
	world_finish(false);
	sound(s);
	return false;
}

/* Arrived by an element. */
static bool
arrive(struct search *s, uint32_t from, struct element by)
{
	bool new;

	s->tried++;
	s->at = here(s, &new);
	connect(s, from, s->at, by);
	if ((s->bit_kill >> by.op & 1) != 0) {	/* as it was foretold? */
		s->hops++;
		s->astray += s->node[s->at].key != s->node[from].killed;
	}
	return !new || world_in_the_middle() || check(s);
}

/* Tries one element where the tour is, at each of its points. */
static bool
try(struct search *s, uint8_t op)
{
	const bool points = (ops[op].need & N_POINTS) != 0;
	struct element el = { op, s->cf->fine, points }, by = el;
	struct element *last = &s->trail.e[s->trail.n++];
	uint32_t from = s->at;

	s->node[from].todo &= ~(1u << op);
	for (;; by.until++) {
		world_do(&el);
		if (!points || !world_in_the_middle())
			by.until = 0;
		*last = by;
		if (!sound(s))
			return false;
		if (!(points && world_at_rest()) && !arrive(s, from, by))
			return false;
		if (by.until == 0)
			return true;
		el.op = op_named("step");
		el.until = by.until < MAX_POINT;
	}
}

static bool
try_one(struct search *s)
{
	struct node *v = &s->node[s->at];
	uint32_t known, todo = left(s, v);
	struct element kill = { op_named("kill"), 0, 0 };
	uint8_t op = 0;

	if ((todo & s->bit_kill) != 0 &&
	    (known = *slot(s, v->killed)) != NONE) {
		v->todo &= ~s->bit_kill;
		s->foretold++;
		connect(s, s->at, known, kill);
		return true;
	}
	if ((todo & ~s->bit_kill) != 0)	/* kill last */
		todo &= ~s->bit_kill;
	while ((todo >> op & 1) == 0)
		op++;
	return try(s, op);
}

/* The first edge of a short way to where something is left, or NULL.  Not over
 * a kill, which costs more than it saves. */
static struct edge *
way(const struct search *s)
{
	struct {
		uint32_t at;
		struct edge *first;
	} queue[HOPS];
	struct edge *e, *first;
	size_t i, k, n = 1;

	queue[0].at = s->at;
	queue[0].first = NULL;
	for (i = 0; i < n; i++)
		for (k = 0; k < s->node[queue[i].at].edges; k++) {
			e = &s->node[queue[i].at].edge[k];
			if (e->loose || ops[e->by.op].who == DRIVER)
				continue;
			first = i == 0 ? e : queue[i].first;
			if (left(s, &s->node[e->to]) != 0)
				return first;
			if (n < HOPS) {
				queue[n].at = e->to;
				queue[n++].first = first;
			}
		}
	return NULL;
}

/* Over a known edge, which may turn out to lead elsewhere. */
static bool
hop(struct search *s, struct edge *e)
{
	struct edge known = *e;
	uint32_t from = s->at;
	bool new;

	s->trail.e[s->trail.n++] = known.by;
	world_do(&known.by);
	if (!sound(s))
		return false;
	s->hops++;
	s->at = here(s, &new);
	if (s->at == known.to)
		return true;
	s->astray++;
	e->loose = true;
	connect(s, from, s->at, known.by);
	return !new || world_in_the_middle() || check(s);
}

static bool
replay(struct search *s, const struct schedule *way_there, uint32_t to)
{
	bool new;
	size_t i;

	world_reset();
	s->trail.n = 0;
	for (i = 0; i < way_there->n; i++) {
		if (!world_possible(&way_there->e[i]))
			return false;
		s->trail.e[s->trail.n++] = way_there->e[i];
		world_do(&way_there->e[i]);
		if (!sound(s))
			return false;
	}
	s->at = here(s, &new);
	return s->at == to;
}

/* By the shortest way, else by the one that led there first. */
static bool
begin_at(struct search *s, uint32_t to)
{
	struct node *v = &s->node[to];
	struct schedule shortest;
	uint32_t k;

	shortest.n = v->depth == OUTSIDE ? 0 : v->depth;
	for (k = to; s->node[k].depth > 0; k = s->node[k].parent)
		shortest.e[s->node[k].depth - 1] = s->node[k].by;
	if (replay(s, &shortest, to))
		return true;
	v = &s->node[to];
	shortest.n = v->trail_n;
	memcpy(shortest.e, v->trail, v->trail_n * sizeof *v->trail);
	if (shortest.n < MAX_LENGTH && replay(s, &shortest, to))
		return true;
	s->node[to].todo = 0;
	s->lost++;
	return false;
}

static void
tour(struct search *s)
{
	size_t end = s->trail.n < LONG ? LONG : MAX_LENGTH;
	struct edge *e;

	while (s->trail.n < end && now_ms() < s->cf->until) {
		if (left(s, &s->node[s->at]) != 0) {
			if (!try_one(s))
				return;
		} else if ((e = way(s)) == NULL || !hop(s, e))
			return;
	}
}

/* A node with something left; false if there is none. */
static bool
pending(struct search *s)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		s->cursor = s->cursor + 1 < s->n ? s->cursor + 1 : 0;
		if (left(s, &s->node[s->cursor]) != 0)
			return true;
	}
	return false;
}

/* Schedules of 1 .. depth elements: the ways through the graph. */
static double
represented(const struct search *s, int depth)
{
	double *ways = xcalloc(s->n, sizeof *ways), *next, sum = 0;
	size_t i, k;

	for (ways[0] = 1; depth-- > 0; free(ways), ways = next) {
		next = xcalloc(s->n, sizeof *next);
		for (i = 0; i < s->n; i++)
			for (k = 0; k < s->node[i].edges; k++)
				if (!(s->barred >> s->node[i].edge[k].by.op &
				    1)) {
					next[s->node[i].edge[k].to] += ways[i];
					sum += ways[i];
				}
	}
	free(ways);
	return sum;
}

static void
tell(const struct search *s, bool complete)
{
	size_t i, edges = 0, within = 0;

	for (i = 0; i < s->n; i++) {
		edges += s->node[i].edges;
		within += s->node[i].depth <= s->level;
	}
	printf("# depth %d %s: %zu states, %zu edges, %.3g schedules; %llu "
	    "elements tried, %llu again, of which %llu led elsewhere, %llu "
	    "kills foretold, %llu states lost; %.1f s\n", s->level,
	    complete ? "complete" : "not reached", within, edges,
	    represented(s, s->level), (unsigned long long)s->tried,
	    (unsigned long long)s->hops, (unsigned long long)s->astray,
	    (unsigned long long)s->foretold, (unsigned long long)s->lost,
	    (double)(now_ms() - s->cf->start) / 1000);
	fflush(stdout);
}

static void
prepare(struct search *s)
{
	bool new;
	size_t i;

	s->bit_step = 1u << op_named("step");
	s->bit_run = 1u << op_named("run");
	s->bit_kill = 1u << op_named("kill");
	for (i = 0; i < OPS; i++)
		s->barred |= (uint32_t)s->cf->barred[i] << i;
	world_reset();
	i = here(s, &new);
	s->node[i].depth = 0;
}

void
search(const struct search_config *cf)
{
	struct search s;
	bool complete = true;

	memset(&s, 0, sizeof s);
	s.cf = cf;
	prepare(&s);
	for (s.level = 1; complete && s.level <= cf->depth; s.level++) {
		s.cursor = NONE;
		while (now_ms() < cf->until && !search_given_up() &&
		    pending(&s))
			if (begin_at(&s, s.cursor))
				tour(&s);
		complete = !search_given_up() && !pending(&s);
		if (!complete || s.level == cf->depth)
			world_count(now_ms() - cf->start);
		tell(&s, complete);
	}
	while (s.n-- > 0) {
		free(s.node[s.n].edge);
		free(s.node[s.n].trail);
	}
	free(s.node);
	free(s.table);
}
