/* SPDX-License-Identifier: ISC */
/* What retain.c lets go, of lists that are composed here. */
#include <string.h>

#include "../retain.h"
#include "tap.h"

#define NOW 1000
#define MOST 16

/* "LEVEL:MIN-MAX@AGE ..." */
static void
compose(struct store_list *l, struct store_file *f, const char *text)
{
	int level, n;
	unsigned long long min, max;
	long age;

	memset(l, 0, sizeof *l);
	l->file = f;
	for (; sscanf(text, "%d:%llu-%llu@%ld%n", &level, &min, &max, &age,
	    &n) == 4 && l->n < MOST; text += n + (text[n] == ' ')) {
		memset(&f[l->n], 0, sizeof *f);
		f[l->n].level = level;
		f[l->n].min_txid = f[l->n].h.min_txid = min;
		f[l->n].max_txid = f[l->n].h.max_txid = max;
		f[l->n++].h.timestamp_ms = NOW - age;
	}
}

static void
goes(const char *title, const char *list, size_t floor, const char *want)
{
	struct retain_rule r = { .now_ms = NOW, .keep_ms = 60, .l0_ms = 20,
	    .floor = floor, .levels = 3 };
	struct store_file f[MOST];
	const struct store_file *base;
	struct store_list l;
	bool go[MOST] = { false };
	char got[256] = "";
	size_t i;

	compose(&l, f, list);
	retain_choose(&r, &l, go, &base);
	for (i = 0; i < l.n; i++)
		if (go[i])
			snprintf(got + strlen(got), sizeof got - strlen(got),
			    "%d:%d-%d ", f[i].level, (int)f[i].min_txid,
			    (int)f[i].max_txid);
	if (!ok(strcmp(got, want) == 0, "%s", title))
		printf("# got:    %s\n# wanted: %s\n", got, want);
}

int
main(void)
{
	goes("what is older than the base",
	    "9:1-1@100 9:1-2@90 9:1-3@50", 1, "9:1-1 ");
	goes("so many snapshots stay", "9:1-1@100 9:1-2@90 9:1-3@50", 3, "");
	goes("of exactly the age it is the base",
	    "9:1-1@100 9:1-2@60 9:1-3@50", 1, "9:1-1 ");
	goes("what the next level has, but for the last",
	    "1:1-1@90 1:2-2@90 1:3-3@90 2:1-2@90 9:1-3@90", 1,
	    "1:1-1 1:2-2 ");
	goes("what the next level does not have stays",
	    "1:1-1@90 1:2-2@90 1:3-3@90 2:1-1@90 9:1-3@90", 1, "1:1-1 ");
	goes("the last of a level stays", "1:1-3@90 2:1-3@90 9:1-3@90", 1,
	    "");
	goes("what is not in the base stays",
	    "1:1-1@90 1:2-2@90 1:3-3@50 2:1-3@50 9:1-1@90", 1, "1:1-1 ");
	goes("level 0 by what one file of level 1 has",
	    "0:1-1@90 0:2-2@90 0:3-3@90 0:4-4@10 1:1-2@90 1:3-4@10", 1,
	    "0:1-1 0:2-2 ");
	goes("but for the newest", "0:1-1@90 0:2-2@90 1:1-2@90", 1, "0:1-1 ");
	return done_testing();
}
