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
 * The search (schedule_search.c) tries every element that is possible in every
 * state that differs from those before, to a depth; the walks draw them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../util.h"
#include "schedule.h"

#define MAX_FAILURES 10
#define WALK_TRIES 20

static struct run {
	struct search_config search;
	size_t length;		/* of a walk */
	uint64_t walks, seed;
	int64_t seconds;
	bool verbose;
	char *only, **replay;
	unsigned failures;
} r;

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
report(const struct schedule *s, bool by_kill)
{
	struct schedule small = *s;

	shorten(&small, by_kill);
	if (holds(&small, by_kill))
		small = *s;	/* it does not always fail */
	r.failures++;
	printf("not ok - ");
	schedule_print(&small);
	printf("%s: %s\n", by_kill ? ", killed" : "", world_failure());
	fflush(stdout);
}

void
search_failed(const struct schedule *s)
{
	report(s, false);
}

bool
search_given_up(void)
{
	return r.failures >= MAX_FAILURES;
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
walk(uint64_t seed)
{
	struct schedule s = { .n = 0 };
	struct element el;
	size_t tries;
	bool by_kill;

	world_reset();
	for (tries = 0; tries < WALK_TRIES * r.length && s.n < r.length &&
	    fine(); tries++) {
		el.op = draw_op(&seed);
		el.fine = draw(&seed) % 2;
		el.until = 0;
		if ((ops[el.op].need & N_POINTS) && draw(&seed) % 2)
			el.until = (uint8_t)(1 + draw(&seed) %
			    (ops[el.op].need & N_MIDDLE ? 3 : 12));
		if (r.search.barred[el.op] || !world_possible(&el))
			continue;
		s.e[s.n++] = el;
		world_do(&el);
	}
	by_kill = draw(&seed) % 2;
	if (fine())
		world_finish(by_kill);
	if (!fine())
		report(&s, by_kill);
}

/* Each with both ends. */
static void
replay(void)
{
	struct schedule s;
	size_t i;

	for (i = 0; r.replay[i] != NULL; i++) {
		if (!schedule_parse(r.replay[i], &s))
			exit(2);
		if (!play(&s)) {
			printf("not ok - %s: not possible\n", r.replay[i]);
			r.failures++;
		}
		if (!holds(&s, false))
			report(&s, false);
		if (!holds(&s, true))
			report(&s, true);
	}
}

/* Bars what is not in the list. */
static void
allow_only(void)
{
	struct schedule s;
	size_t i;

	if (!schedule_parse(r.only, &s))
		exit(2);
	for (i = 0; i < OPS; i++)
		r.search.barred[i] = true;
	for (i = 0; i < s.n; i++)
		r.search.barred[s.e[i].op] = false;
}

static void
explore(void)
{
	uint64_t i;

	if (r.only != NULL)
		allow_only();
	if (r.search.depth > 0)
		search(&r.search);
	for (i = 0; i < r.walks && r.failures < MAX_FAILURES &&
	    now_ms() < r.search.until; i++)
		walk(r.seed + i);
	if (i > 0)
		printf("# %llu walks from seed %llu\n",
		    (unsigned long long)i, (unsigned long long)r.seed);
}

static _Noreturn void
usage(void)
{
	fputs("usage: schedule [-seconds N] [-ops \"OP...\"] [-depth N] "
	    "[-fine]\n\t\t[-coarse] [-walks N] [-length N] [-seed N]\n"
	    "       schedule [-v] -replay \"ELEMENT...\"...\n", stderr);
	exit(2);
}

static void
parse_options(char **a)
{
	for (; *a != NULL && r.replay == NULL; a++) {
		if (strcmp(*a, "-v") == 0)
			r.verbose = true;
		else if (strcmp(*a, "-fine") == 0)
			r.search.fine = true;
		else if (strcmp(*a, "-coarse") == 0)
			r.search.coarse = true;
		else if (a[1] == NULL)
			usage();
		else if (strcmp(*a, "-replay") == 0)
			r.replay = a + 1;
		else if (strcmp(*a, "-ops") == 0)
			r.only = *++a;
		else if (strcmp(*a, "-depth") == 0)
			r.search.depth = atoi(*++a);
		else if (strcmp(*a, "-length") == 0)
			r.length = strtoul(*++a, NULL, 10);
		else if (strcmp(*a, "-walks") == 0)
			r.walks = strtoull(*++a, NULL, 10);
		else if (strcmp(*a, "-seed") == 0)
			r.seed = strtoull(*++a, NULL, 10);
		else if (strcmp(*a, "-seconds") == 0)
			r.seconds = atoll(*++a);
		else
			usage();
	}
	if (r.length > MAX_LENGTH || r.search.depth > MAX_LENGTH)
		usage();
}

int
main(int argc, char **argv)
{
	r.length = 30;
	r.seconds = 1000000;
	r.search.start = now_ms();
	r.seed = (uint64_t)time(NULL);
	if (argc < 2)
		usage();
	parse_options(argv + 1);
	r.search.until = r.search.start + 1000 * r.seconds;
	world_open(r.verbose);
	if (r.replay != NULL)
		replay();
	else
		explore();
	if (r.search.depth == 0)
		world_count(now_ms() - r.search.start);
	world_close();
	return r.failures > 0;
}
