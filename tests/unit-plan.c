/* SPDX-License-Identifier: ISC */
/* plan.c against chains written down by hand, and against brute force. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../plan.h"
#include "tap.h"

#define SEED UINT64_C(0x5eed000000000031)
#define ROUNDS 20000
#define SMALL 9			/* files or points of a random list */
#define LARGE 100000
#define LARGE_MS 2000

/*
 * A list from text, "LEVEL:MIN-MAX@STAMP" separated by blanks; a ! behind it
 * makes a bad file.
 */
static struct store_list
list_of(const char *s)
{
	struct store_list l = { .file = xcalloc(64, sizeof(*l.file)) };
	struct store_file *f;
	int n, level;
	long long min, max, at;

	while (sscanf(s, " %d:%lld-%lld@%lld%n", &level, &min, &max, &at,
	    &n) == 4) {
		f = &l.file[l.n++];
		f->level = level;
		f->min_txid = (uint64_t)min;
		f->max_txid = (uint64_t)max;
		f->h.timestamp_ms = f->mtime_ms = at;
		s += n;
		if (*s == '!') {
			s++;
			f->bad = true;
			err_set(&l.first_bad, ERR_DAMAGED, "F: damaged");
		}
	}
	return l;
}

/* The chain as text, or the kind of error. */
static void
chain_is(const char *title, const char *files, uint64_t from, uint64_t to,
    const char *want)
{
	struct store_list l = list_of(files);
	struct plan p;
	struct err e;
	char got[1200] = "";
	size_t i, n = 0;

	if (plan_make(&l, from, to, &p, &e) == 0) {
		for (i = 0; i < p.n; i++)
			n += (size_t)snprintf(got + n, sizeof(got) - n,
			    "%s%d:%d-%d", i > 0 ? " " : "",
			    l.file[p.file[i]].level,
			    (int)l.file[p.file[i]].min_txid,
			    (int)l.file[p.file[i]].max_txid);
		plan_free(&p);
	} else
		snprintf(got, sizeof(got), "%s %s", e.kind == ERR_ABSENT ?
		    "absent" : e.kind == ERR_DAMAGED ? "damaged" : "other",
		    e.text);
	if (!ok(strncmp(got, want, strlen(want)) == 0 &&
	    (want[0] == 'a' || want[0] == 'd' ||
	    strlen(got) == strlen(want)), "%s", title))
		printf("# got: %s\n# wanted: %s\n", got, want);
	store_list_free(&l);
}

static void
test_chains(void)
{
	chain_is("no files", "", 0, 0,
	    "absent no matching backup files available");
	chain_is("the newest snapshot, then the furthest",
	    "0:4-4@0 0:5-5@0 0:6-6@0 1:4-5@0 9:1-1@0 9:1-3@0", 0, 0,
	    "9:1-3 1:4-5 0:6-6");
	chain_is("without snapshot", "0:1-1@0 1:1-3@0 0:4-4@0", 0, 0,
	    "1:1-3 0:4-4");
	chain_is("of equal reach the smaller min, then the higher level",
	    "0:4-4@0 1:3-4@0 2:3-4@0 1:4-4@0 9:1-3@0", 0, 0, "9:1-3 2:3-4");
	chain_is("overlaps", "1:1-4@0 1:3-6@0 0:6-6@0 0:7-7@0", 0, 0,
	    "1:1-4 1:3-6 0:7-7");
	chain_is("to a TXID in the past",
	    "0:2-2@0 0:3-3@0 0:4-4@0 9:1-1@0 9:1-3@0 9:1-4@0", 0, 2,
	    "9:1-1 0:2-2");
	chain_is("a gap",
	    "0:1-1@0 0:2-2@0 0:4-4@0", 0, 0, "damaged non-contiguous ltx "
	    "files: have up to 0000000000000002 but next file starts at "
	    "0000000000000004");
	chain_is("a gap, for a TXID after it",
	    "0:1-1@0 0:3-3@0 0:4-4@0", 0, 3, "damaged non-contiguous");
	chain_is("a gap, for the missing TXID",
	    "0:1-1@0 0:3-3@0 0:4-4@0", 0, 2, "damaged");
	chain_is("before a gap", "0:1-1@0 0:2-2@0 0:4-4@0", 0, 2,
	    "0:1-1 0:2-2");
	chain_is("a TXID inside a merged file", "1:1-4@0 0:5-5@0", 0, 3,
	    "absent");
	chain_is("a TXID to come", "1:1-4@0", 0, 5, "absent");
	chain_is("what led there is not kept", "0:4-4@0 0:5-5@0 9:1-5@0", 0, 4,
	    "absent");
	chain_is("a snapshot hides what is missing below it",
	    "0:1-1@0 0:3-3@0 9:1-3@0", 0, 0, "9:1-3");
}

static void
test_bad_files(void)
{
	chain_is("a bad newest file is never an older state",
	    "0:1-1@0 0:2-2@0!", 0, 0, "damaged non-contiguous ltx files: "
	    "have up to 0000000000000001 but need 0000000000000002: F: dam");
	chain_is("another level has what is bad",
	    "0:1-1@0 0:2-2@0! 1:1-2@0", 0, 0, "1:1-2");
	chain_is("an older snapshot instead of a bad one",
	    "0:2-2@0 0:3-3@0 9:1-1@0 9:1-3@0!", 0, 0, "9:1-1 0:2-2 0:3-3");
	chain_is("no snapshot instead of a bad one",
	    "0:1-1@0 0:2-2@0 9:1-2@0!", 0, 0, "0:1-1 0:2-2");
	chain_is("a name of junk is believed to have existed",
	    "0:1-1@0 9:1-9223372036854775807@0!", 0, 0, "damaged");
	chain_is("a TXID before a bad file", "0:1-1@0 0:2-2@0!", 0, 1,
	    "0:1-1");
	chain_is("the TXID of a bad file",
	    "0:1-1@0 0:2-2@0! 0:3-3@0", 0, 2, "damaged");
	chain_is("nothing but junk", "0:0-0@0!", 0, 0, "damaged F: damaged");
	chain_is("min > max", "0:1-1@0 0:9-1@0!", 0, 0, "0:1-1");
}

static void
test_from(void)
{
	chain_is("on top of a TXID", "0:1-1@0 0:2-2@0 1:1-2@0 0:3-3@0", 1, 0,
	    "1:1-2 0:3-3");
	chain_is("on top of a TXID no snapshot is taken",
	    "0:2-2@0 0:3-3@0 9:1-3@0", 1, 0, "0:2-2 0:3-3");
	chain_is("but where there is a gap",
	    "0:2-2@0 0:4-4@0 9:1-3@0", 2, 0, "9:1-3 0:4-4");
	chain_is("nothing new", "0:1-1@0 0:2-2@0", 2, 0, "");
}

/* "TXID", "TXID doubt", or the kind of error. */
static void
time_is(const char *title, const char *files, int64_t at, const char *want)
{
	struct store_list l = list_of(files);
	struct err e = { .kind = ERR_NONE };
	char got[64], *doubt;
	uint64_t txid;

	if (plan_at_time(&l, at, &txid, &doubt, &e) == 0)
		snprintf(got, sizeof(got), "%d%s", (int)txid,
		    doubt != NULL ? " doubt" : "");
	else
		snprintf(got, sizeof(got), "%s", e.kind == ERR_ABSENT ?
		    "absent" : e.kind == ERR_DAMAGED ? "damaged" : "other");
	if (!ok(strcmp(got, want) == 0, "%s", title))
		printf("# got: %s\n# wanted: %s\n# %s\n", got, want,
		    doubt != NULL ? doubt : e.text);
	free(doubt);
	store_list_free(&l);
}

static void
test_times(void)
{
	static const char good[] =
	    "9:1-2@250 0:1-1@100 0:2-2@200 0:3-3@300 1:1-2@200";
	static const char forward[] =
	    "0:1-1@100 0:2-2@200 0:3-3@9000 0:4-4@300 0:5-5@400";
	static const char back[] =
	    "0:1-1@1000 0:2-2@1100 0:3-3@50 0:4-4@1200 0:5-5@1300";

	time_is("before the first", good, 99, "absent");
	time_is("the very stamp", good, 100, "1");
	time_is("between two", good, 199, "1");
	time_is("of several stamps the earliest", good, 200, "2");
	time_is("the future is the newest", good, 99999, "3");
	time_is("no files", "", 5, "absent");
	time_is("only bad files", "0:1-1@100!", 500, "damaged");
	time_is("after a gap begins",
	    "0:1-1@100 0:2-2@200 0:4-4@400", 300, "damaged");
	time_is("before a gap", "0:1-1@100 0:2-2@200 0:4-4@400", 150, "1");
	time_is("a damaged newest file", "0:1-1@100 0:2-2@200!", 300,
	    "damaged");
	time_is("a merged file after the chosen",
	    "0:1-1@100 1:2-4@400", 300, "1");
	time_is("clock ahead for a while: later times", forward, 350,
	    "4 doubt");
	time_is("clock ahead for a while: the doubtful time", forward, 9500,
	    "5");
	time_is("clock ahead for a while: its stamp is not between",
	    forward, 250, "2");
	time_is("clock ahead: a time that it claims otherwise", forward, 8999,
	    "5 doubt");
	time_is("clock behind for a while", back, 1150, "2 doubt");
	time_is("clock behind for a while: the wrong stamp", back, 60,
	    "absent");
	time_is("clock behind for a while: after it", back, 1250, "4");
	time_is("the heavier run, not the longer one",
	    "9:1-50@900 0:51-51@100 0:52-52@200 0:53-53@960", 950,
	    "50 doubt");
	time_is("after all stamps, the newest, whatever the runs",
	    "9:1-50@900 0:51-51@100 0:52-52@200", 950, "52");
	time_is("of equals the later run",
	    "0:1-1@100 0:2-2@900 0:3-3@200", 300, "3 doubt");
}

/* Whether to can be reached from reached, trying everything. */
static bool
reachable(const struct store_list *l, uint64_t reached, uint64_t to)
{
	const struct store_file *f;
	size_t i;

	if (reached == to)
		return true;
	for (i = 0; i < l->n; i++) {
		f = &l->file[i];
		if (!f->bad && f->min_txid <= reached + 1 &&
		    f->max_txid > reached && f->max_txid <= to &&
		    reachable(l, f->max_txid, to))
			return true;
	}
	return false;
}

static bool
valid(const struct store_list *l, const struct plan *p, uint64_t to)
{
	const struct store_file *f;
	uint64_t reached = 0;
	size_t i;

	for (i = 0; i < p->n; i++) {
		f = &l->file[p->file[i]];
		if (f->bad || f->min_txid > reached + 1 ||
		    f->max_txid <= reached)
			return false;
		reached = f->max_txid;
	}
	return reached == to && p->txid == to;
}

static void
random_list(struct store_list *l, uint64_t *s)
{
	struct store_file *f;
	size_t i;

	memset(l->file, 0, SMALL * sizeof(*l->file));
	l->n = 1 + next_random(s) % SMALL;
	err_set(&l->first_bad, ERR_DAMAGED, "bad");
	for (i = 0; i < l->n; i++) {
		f = &l->file[i];
		f->level = (int)(next_random(s) % STORE_LEVELS);
		f->min_txid = f->level == STORE_SNAPSHOT ? 1 :
		    1 + next_random(s) % 8;
		f->max_txid = f->min_txid + (f->level == 0 ? 0 :
		    next_random(s) % 4);
		f->bad = next_random(s) % 5 == 0;
		f->h.timestamp_ms = (int64_t)(next_random(s) % 9);
	}
}

static bool
same_as_search(const struct store_list *l)
{
	struct plan p;
	struct err e;
	uint64_t to, last = store_max_txid(l);

	for (to = 1; to <= last; to++) {
		if (plan_make(l, 0, to, &p, &e) != 0) {
			if (reachable(l, 0, to))
				return false;
			continue;
		}
		if (!valid(l, &p, to))
			return false;
		plan_free(&p);
	}
	return true;
}

/* The weight of the run, and of the heaviest of all subsets. */
static bool
run_is_heaviest(const struct store_list *l)
{
	struct plan_point *p;
	uint64_t got, best = 0, w;
	int64_t last;
	size_t n, i, set;
	bool fits = true;

	plan_points(l, &p, &n);
	for (set = 0, got = 0; set < (size_t)1 << n; set++) {
		for (i = 0, w = 0, last = -1; i < n; i++)
			if ((set >> i & 1) != 0) {
				if (p[i].timestamp_ms < last)
					break;
				last = p[i].timestamp_ms;
				w += p[i].txid - (i > 0 ? p[i - 1].txid : 0);
			}
		if (i == n && w > best)
			best = w;
	}
	for (i = 0, last = -1; i < n; i++)
		if (p[i].in_run) {
			fits = fits && p[i].timestamp_ms >= last;
			last = p[i].timestamp_ms;
			got += p[i].txid - (i > 0 ? p[i - 1].txid : 0);
		}
	free(p);
	return fits && got == best;
}

static void
test_random(void)
{
	struct store_list l = { .file = xcalloc(SMALL, sizeof(*l.file)) };
	uint64_t seed = SEED;
	int i, chains = 0, runs = 0;

	for (i = 0; i < ROUNDS; i++) {
		random_list(&l, &seed);
		chains += same_as_search(&l);
		runs += run_is_heaviest(&l);
	}
	printf("# seed %llx\n", (unsigned long long)SEED);
	ok(chains == ROUNDS, "a chain wherever a search finds one, %d lists",
	    ROUNDS);
	ok(runs == ROUNDS, "the run is the heaviest, %d lists", ROUNDS);
	store_list_free(&l);
}

static void
test_large(void)
{
	struct store_list l = { .n = LARGE,
	    .file = xcalloc(LARGE, sizeof(*l.file)) };
	struct plan p;
	struct err e;
	char *doubt = NULL;
	uint64_t txid = 0, i;
	clock_t start = clock();
	bool good;

	for (i = 0; i < LARGE; i++) {
		l.file[i].min_txid = l.file[i].max_txid = i + 1;
		l.file[i].h.timestamp_ms = (int64_t)i ^ 1;
	}
	good = plan_make(&l, 0, 0, &p, &e) == 0 && p.n == LARGE;
	plan_free(&p);
	good = good && plan_at_time(&l, LARGE, &txid, &doubt, &e) == 0 &&
	    txid >= LARGE - 1;
	ok(good, "%d files", LARGE);
	ok((clock() - start) / (CLOCKS_PER_SEC / 1000) < LARGE_MS,
	    "in less than %d ms of processor time", LARGE_MS);
	free(doubt);
	store_list_free(&l);
}

int
main(void)
{
	test_chains();
	test_bad_files();
	test_from();
	test_times();
	test_random();
	test_large();
	return done_testing();
}
