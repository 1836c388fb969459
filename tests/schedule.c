/* SPDX-License-Identifier: ISC */
/*
 * Schedules of an application and of the replicator, explored.
 *
 * An application (schedule_app.c) and the replicator's own modules
 * (schedule_ours.c) run in two processes, since POSIX locks are per process;
 * this one tells each what to do next, so it decides what comes between any two
 * steps.  A schedule is a list of elements, made from the same small database
 * each time:
 *
 *	commit grow shrink vacuum app.passive app.full app.restart app.truncate
 *	app.open app.close read unread ghost torn	the application
 *	sync free window locked empty audit save nospace letgo	an open pair
 *	reopen stop start kill				its process
 *	OP@3 OP:3	only to the third point of OP; with : small ones count
 *	step@1 step:1 run	from there
 *	relieve	another thread ends its pins, as if it were stuck there
 *
 * "ghost" and "torn" kill the application in a commit, "kill" the replicator;
 * "nospace" fails its next file.
 *
 * After each schedule: what is under way goes to its end (or is killed and
 * started), one more pass is made, and then
 *  - each TXID of level 0 must restore, through restore.c, to an image that the
 *    application saw after a commit, in their order, the newest to the newest;
 *  - an audit finds nothing, there was no rebase, and no comparison but after
 *    what justifies one;
 *  - no commit was busy but under our write lock.
 *
 * Breadth-first: every element that is possible is tried in every state that
 * differs from those before, to a depth.  Schedules are replayed from the
 * beginning.  What this assumes is that states which agree in the following
 * behave alike: who is open and reads, locks on the -shm and whose, index and
 * WAL file by the *order* of their counters (mxFrame, backfill, read marks,
 * frames in the file, consumed, saved) and the identity of their salts, sizes
 * by their order, whether the file is the newest image, operation and point,
 * doubt, tail, and what is saved.  So numbers of frames are not told apart,
 * contents are not, and at a second commit of the same shape the search may
 * turn back; the walks, which assume nothing, are for that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../util.h"
#include "schedule.h"

#define MAX_FAILURES 10
#define MAX_POINT 60
#define WALK_TRIES 20

struct run {
	int depth;
	size_t length;		/* of a walk */
	uint64_t walks, seed;
	int64_t seconds, until;
	bool fine, verbose;
	char *only, **replay;
	bool barred[OPS];
	unsigned failures;
};

static bool
fine(void)
{
	return world_failure()[0] == '\0';
}

/* Without what is not possible there; whether that was nothing. */
static bool
play(const struct schedule *s)
{
	bool all = true;
	size_t i;

	world_reset();
	for (i = 0; i < s->n && fine(); i++)
		if (world_possible(&s->e[i]))
			world_do(&s->e[i]);
		else
			all = false;
	return all;
}

static bool
holds(const struct schedule *s, bool by_kill)
{
	play(s);
	if (fine())
		world_finish(by_kill);
	return fine();
}

/* Leaves out what is not needed for the failure. */
static void
shorten(struct schedule *s, bool by_kill)
{
	struct schedule less;
	size_t i, n;

	do {
		for (n = i = s->n; i-- > 0;) {
			less = *s;
			memmove(&less.e[i], &less.e[i + 1],
			    (--less.n - i) * sizeof less.e[0]);
			if (!holds(&less, by_kill))
				*s = less;
		}
	} while (s->n < n);
}

static void
report(struct run *r, const struct schedule *s, bool by_kill)
{
	struct schedule small = *s;

	shorten(&small, by_kill);
	if (holds(&small, by_kill))
		small = *s;	/* it does not always fail */
	r->failures++;
	printf("not ok - ");
	schedule_print(&small);
	printf("%s: %s\n", by_kill ? ", killed" : "", world_failure());
	fflush(stdout);
}

struct search {
	struct run *r;
	struct schedule *queue;
	size_t n, cap;
	uint64_t *seen;
	size_t states, room;	/* room is a power of two */
};

static bool
add_key(struct search *s, uint64_t key)
{
	uint64_t *old = s->seen;
	size_t i, k, n = s->room;

	if (2 * s->states >= s->room) {
		s->room = n == 0 ? 4096 : 2 * n;
		s->seen = xcalloc(s->room, sizeof *s->seen);
		for (s->states = i = 0; i < n; i++)
			if (old[i] != 0)
				add_key(s, old[i]);
		free(old);
	}
	key += key == 0;
	for (k = key & (s->room - 1); s->seen[k] != 0;
	    k = (k + 1) & (s->room - 1))
		if (s->seen[k] == key)
			return false;
	s->seen[k] = key;
	s->states++;
	return true;
}

/* One more element at the end of s: whether it stopped at a point. */
static bool
expand(struct search *q, const struct schedule *s)
{
	bool new, stopped;

	play(s);
	stopped = world_in_the_middle();
	new = fine() && add_key(q, world_key());
	if (fine())
		world_finish(false);
	if (!fine()) {
		report(q->r, s, false);
		return false;
	}
	if (!new)
		return stopped;
	q->queue = xgrow(q->queue, q->n, &q->cap, sizeof *q->queue);
	q->queue[q->n++] = *s;
	if (!holds(s, true))
		report(q->r, s, true);
	return stopped;
}

/* An operation of ours to its first, second .. point, and to its end. */
static void
expand_all(struct search *q, const struct schedule *from)
{
	struct schedule s = *from;
	struct element *el = &s.e[s.n++];
	bool can[OPS];
	size_t i;

	play(from);
	for (i = 0; i < OPS; i++) {
		el->op = (uint8_t)i;
		can[i] = !q->r->barred[i] && world_possible(el);
	}
	for (i = 0; i < OPS && q->r->failures < MAX_FAILURES; i++) {
		if (!can[i])
			continue;
		el->op = (uint8_t)i;
		el->fine = q->r->fine;
		el->until = (ops[i].need & N_POINTS) != 0;
		while (expand(q, &s) && el->until != 0 &&
		    el->until < MAX_POINT)
			el->until++;
	}
}

static void
search(struct run *r)
{
	struct search q = { .r = r };
	struct schedule s = { .n = 0 };
	size_t i, level = 0;

	play(&s);
	add_key(&q, world_key());
	q.queue = xgrow(q.queue, 0, &q.cap, sizeof *q.queue);
	q.queue[q.n++] = s;
	for (i = 0; i < q.n && r->failures < MAX_FAILURES; i++) {
		s = q.queue[i];
		if (s.n > level)
			printf("# depth %zu: %zu states\n", level = s.n, q.n);
		fflush(stdout);
		if ((int)s.n >= r->depth || now_ms() >= r->until)
			break;
		expand_all(&q, &s);
	}
	printf("# depth %d %s: %zu states, %zu of them tried on\n", r->depth,
	    i == q.n || (int)s.n >= r->depth ? "complete" : "not reached",
	    q.n, i);
	free(q.queue);
	free(q.seen);
}

static uint64_t
draw(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 33;
}

static uint8_t
draw_op(uint64_t *seed)
{
	int sum = 0, at;
	uint8_t i;

	for (i = 0; i < OPS; i++)
		sum += ops[i].weight;
	at = (int)(draw(seed) % (uint64_t)sum);
	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	return i;
}

static void
walk(struct run *r, uint64_t seed)
{
	struct schedule s = { .n = 0 };
	struct element el;
	size_t tries;
	bool by_kill;

	world_reset();
	for (tries = 0; tries < WALK_TRIES * r->length && s.n < r->length &&
	    fine(); tries++) {
		el.op = draw_op(&seed);
		el.fine = draw(&seed) % 2;
		el.until = 0;
		if ((ops[el.op].need & N_POINTS) && draw(&seed) % 2)
			el.until = (uint8_t)(1 + draw(&seed) %
			    (ops[el.op].need & N_MIDDLE ? 3 : 12));
		if (r->barred[el.op] || !world_possible(&el))
			continue;
		s.e[s.n++] = el;
		world_do(&el);
	}
	by_kill = draw(&seed) % 2;
	if (fine())
		world_finish(by_kill);
	if (!fine())
		report(r, &s, by_kill);
}

/* Each with both ends. */
static void
replay(struct run *r)
{
	struct schedule s;
	size_t i;

	for (i = 0; r->replay[i] != NULL; i++) {
		if (!schedule_parse(r->replay[i], &s))
			exit(2);
		if (!play(&s)) {
			printf("not ok - %s: not possible\n", r->replay[i]);
			r->failures++;
		}
		if (!holds(&s, false))
			report(r, &s, false);
		if (!holds(&s, true))
			report(r, &s, true);
	}
}

/* Bars what is not in the list. */
static void
allow_only(struct run *r)
{
	struct schedule s;
	size_t i;

	if (!schedule_parse(r->only, &s))
		exit(2);
	for (i = 0; i < OPS; i++)
		r->barred[i] = true;
	for (i = 0; i < s.n; i++)
		r->barred[s.e[i].op] = false;
}

static void
explore(struct run *r)
{
	uint64_t i;

	if (r->only != NULL)
		allow_only(r);
	if (r->depth > 0)
		search(r);
	for (i = 0; i < r->walks && r->failures < MAX_FAILURES &&
	    now_ms() < r->until; i++)
		walk(r, r->seed + i);
	if (i > 0)
		printf("# %llu walks from seed %llu\n",
		    (unsigned long long)i, (unsigned long long)r->seed);
}

static _Noreturn void
usage(void)
{
	fputs("usage: schedule [-seconds N] [-ops \"OP...\"] [-depth N] "
	    "[-fine]\n\t\t[-walks N] [-length N] [-seed N]\n"
	    "       schedule [-v] -replay \"ELEMENT...\"...\n", stderr);
	exit(2);
}

static void
parse_options(struct run *r, char **a)
{
	for (; *a != NULL && r->replay == NULL; a++) {
		if (strcmp(*a, "-v") == 0)
			r->verbose = true;
		else if (strcmp(*a, "-fine") == 0)
			r->fine = true;
		else if (a[1] == NULL)
			usage();
		else if (strcmp(*a, "-replay") == 0)
			r->replay = a + 1;
		else if (strcmp(*a, "-ops") == 0)
			r->only = *++a;
		else if (strcmp(*a, "-depth") == 0)
			r->depth = atoi(*++a);
		else if (strcmp(*a, "-length") == 0)
			r->length = strtoul(*++a, NULL, 10);
		else if (strcmp(*a, "-walks") == 0)
			r->walks = strtoull(*++a, NULL, 10);
		else if (strcmp(*a, "-seed") == 0)
			r->seed = strtoull(*++a, NULL, 10);
		else if (strcmp(*a, "-seconds") == 0)
			r->seconds = atoll(*++a);
		else
			usage();
	}
	if (r->length > MAX_LENGTH || r->depth > MAX_LENGTH)
		usage();
}

int
main(int argc, char **argv)
{
	struct run r = { .length = 30, .seconds = 1000000 };
	int64_t start = now_ms();

	r.seed = (uint64_t)time(NULL);
	if (argc < 2)
		usage();
	parse_options(&r, argv + 1);
	r.until = start + 1000 * r.seconds;
	world_open(r.verbose);
	if (r.replay != NULL)
		replay(&r);
	else
		explore(&r);
	world_count(now_ms() - start);
	world_close();
	return r.failures > 0;
}
