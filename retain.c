/* SPDX-License-Identifier: ISC */
/*
 * Retention: what may go.
 *
 * The promise is that every instant of the last keep_ms can be restored.  The
 * state at the very start of that window is some TXID, and the window's base
 * is the newest snapshot that is at least keep_ms old: it ends at or before
 * that TXID.  Whatever ends after the base stays above level 0, so from the
 * base on every point of the window has its chain.  What ends at or before it
 * may go, but the levels must remain continuable by any writer: a file stays
 * until the next level has its TXIDs, and the last file of a level stays, for
 * it carries the level's position.
 *
 * Level 0 is the fine grain of the last minutes.  The points within one file of
 * level 1 need all of level 0 from that file's first TXID on, so they go
 * together, when the youngest is old enough; the last of them is still there
 * then, as the end of the file of level 1.  The newest file of level 0 carries
 * the numbering of all writers and never goes.
 *
 * Age is that of the header's stamp, and a stamp is only as good as the clock.
 * So nothing is deleted before the wall clock has agreed with the time since
 * boot for a whole retention period (for level 0: its own period).  Then
 *
 * - a file written since the agreement began has a right stamp;
 * - a file written before is older than the period, whatever its stamp says.
 *   A stamp before now can only make it older.  A stamp after now (the clock
 *   was ahead, and was set back) cannot have been written since, so its age is
 *   at least the time of the agreement.
 *
 * Hence no clock, wherever it is set to and back, makes a file go early, and
 * none that was set back keeps files for ever.
 *
 * A process may live for a second only, so the agreement outlives it:
 *
 *	ROOT/.clock	"wall MS\nboot MS\ntrusted MS\nid BOOT\n"
 *
 * At the next look, if both clocks advanced by the same, the agreement goes on:
 * this proves also a time in which nothing ran.  If the machine was started
 * since (another boot, or less time since boot than noted), nobody can tell
 * what happened in between; a clock that went forward by at least the time
 * since boot, and by less than one retention period, is believed.  Anything
 * else, also an unreadable file, begins the agreement anew.  The slack grows
 * with the time between, since a clock that is steered gently may run 0.1
 * percent fast or slow.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "retain.h"

#define CLOCK_MAX 256
#define DRIFT 1000		/* one part in so many */
#define SAVES_PER_PERIOD 24
#define TIME_SANE ((int64_t)1 << 60)

int64_t
retain_age(const struct retain_rule *r, const struct store_file *f)
{
	int64_t t = f->h.timestamp_ms;

	if (t > r->now_ms && t - r->now_ms > RETAIN_TOLERANCE_MS)
		return r->future_ms;
	if (t >= r->now_ms)
		return 0;
	return t < 0 ? r->now_ms : r->now_ms - t;
}

/* The largest max_txid of the good files of a level. */
static uint64_t
level_max(const struct store_list *l, int level)
{
	uint64_t max = 0;
	size_t i;

	for (i = 0; i < l->n; i++)
		if (!l->file[i].bad && l->file[i].level == level &&
		    l->file[i].max_txid > max)
			max = l->file[i].max_txid;
	return max;
}

static int
by_max(const void *pa, const void *pb)
{
	const struct store_file *a = *(const struct store_file *const *)pa;
	const struct store_file *b = *(const struct store_file *const *)pb;

	return (a->max_txid > b->max_txid) - (a->max_txid < b->max_txid);
}

/* The good files of a level, ascending. */
static const struct store_file **
files_of(const struct store_list *l, int level, size_t *n)
{
	const struct store_file **f = xcalloc(l->n + 1, sizeof(*f));
	size_t i;

	for (i = *n = 0; i < l->n; i++)
		if (!l->file[i].bad && l->file[i].level == level)
			f[(*n)++] = &l->file[i];
	qsort(f, *n, sizeof(*f), by_max);
	return f;
}

static void
choose_snapshots(const struct retain_rule *r, const struct store_list *l,
    bool *go, const struct store_file **base)
{
	const struct store_file **f;
	size_t i, n;

	f = files_of(l, STORE_SNAPSHOT, &n);
	*base = NULL;
	for (i = 0; i < n; i++)
		if (retain_age(r, f[i]) >= r->keep_ms)
			*base = f[i];
	for (i = 0; *base != NULL && i + r->floor < n &&
	    f[i]->max_txid < (*base)->max_txid; i++)
		go[f[i] - l->file] = true;
	free(f);
}

static void
choose_levels(const struct retain_rule *r, const struct store_list *l,
    bool *go, uint64_t base)
{
	uint64_t max[STORE_LEVELS];
	const struct store_file *f;
	size_t i;
	int n;

	for (n = 0; n < STORE_LEVELS; n++)
		max[n] = level_max(l, n);
	for (i = 0; i < l->n; i++) {
		f = &l->file[i];
		n = f->level;
		if (f->bad || n == 0 || n == STORE_SNAPSHOT)
			continue;
		if (f->max_txid > base)
			continue;
		go[i] = n > r->levels || (f->max_txid < max[n] &&
		    (n == r->levels || f->max_txid <= max[n + 1]));
	}
}

/* Level 0, by groups: what lies in one file of level 1. */
static void
choose_l0(const struct retain_rule *r, const struct store_list *l, bool *go)
{
	const struct store_file **f, **up;
	size_t i, end, n, k, n_up;

	f = files_of(l, 0, &n);
	up = files_of(l, 1, &n_up);
	for (i = k = 0; i < n; i = end) {
		while (k < n_up && up[k]->max_txid < f[i]->max_txid)
			k++;
		if (k == n_up || up[k]->min_txid > f[i]->min_txid)
			break;
		for (end = i; end < n && f[end]->max_txid <= up[k]->max_txid &&
		    retain_age(r, f[end]) >= r->l0_ms; end++)
			;
		if (end < n && f[end]->max_txid <= up[k]->max_txid)
			break;
		for (; i < end && i + 1 < n; i++)
			go[f[i] - l->file] = true;
	}
	free(f);
	free(up);
}

void
retain_reach(const struct store_list *l, const bool *go, bool *can)
{
	const struct store_file **f = xcalloc(l->n + 1, sizeof(*f));
	uint64_t reached = 0;
	size_t i, k, end, n;
	bool some;

	for (i = n = 0; i < l->n; i++) {
		can[i] = false;
		if (!l->file[i].bad)
			f[n++] = &l->file[i];
	}
	qsort(f, n, sizeof(*f), by_max);
	/* A file continues whatever it can be put on, so only the last TXID
	 * that was reached matters. */
	for (i = 0; i < n; i = end) {
		some = false;
		for (end = i; end < n && f[end]->max_txid == f[i]->max_txid;
		    end++)
			some = some || ((go == NULL || !go[f[end] - l->file]) &&
			    f[end]->min_txid - 1 <= reached);
		for (k = i; some && k < end; k++)
			can[f[k] - l->file] = true;
		if (some)
			reached = f[i]->max_txid;
	}
	free(f);
}

/* Unmarks the chain of a file that is to stay; false if there is none. */
static bool
support(const struct store_list *l, const struct store_file *f, bool *go)
{
	struct plan plan;
	struct err ignored;
	size_t i;

	if (plan_make(l, 0, f->max_txid, &plan, &ignored) != 0)
		return false;
	for (i = 0; i < plan.n; i++)
		go[plan.file[i]] = false;
	plan_free(&plan);
	return true;
}

/*
 * What stays though it ends before the base (the last file of a level, one that
 * the next level does not have yet, level 0) keeps what it stands on: no file
 * must show a TXID that cannot be restored.
 */
static void
keep_chains(const struct store_list *l, bool *go)
{
	bool *before = xcalloc(2 * l->n + 2, sizeof(*before));
	bool *after = before + l->n + 1;
	size_t i;

	retain_reach(l, NULL, before);
	for (i = 0; i < l->n;) {
		retain_reach(l, go, after);
		for (i = 0; i < l->n && (l->file[i].bad || go[i] ||
		    after[i] || !before[i]); i++)
			;
		if (i < l->n && !support(l, &l->file[i], go))
			break;
	}
	free(before);
}

void
retain_choose(const struct retain_rule *r, const struct store_list *l,
    bool *go, const struct store_file **base)
{
	choose_snapshots(r, l, go, base);
	if (*base != NULL)
		choose_levels(r, l, go, (*base)->max_txid);
	if (r->l0_ms >= 0)
		choose_l0(r, l, go);
	keep_chains(l, go);
}

/* What the process before us noted. */
static bool
load(struct retain_clock *c, const char *path)
{
	struct err ignored;
	char *s;
	size_t n;
	bool good;

	if (disk_read_all(path, CLOCK_MAX, &s, &n, &ignored) != 0)
		return false;
	/* Without the last line it is of a version before that. */
	good = sscanf(s, "wall %" SCNd64 "\nboot %" SCNd64 "\ntrusted %"
	    SCNd64 "\nid %63s\n", &c->wall_ms, &c->mono_ms, &c->trusted_ms,
	    c->boot) >= 3 &&
	    c->wall_ms >= 0 && c->wall_ms < TIME_SANE && c->mono_ms >= 0 &&
	    c->mono_ms < TIME_SANE && c->trusted_ms >= 0;
	free(s);
	return good;
}

static int
save(struct retain_clock *c, const char *path, const struct disk_owner *o,
    struct err *e)
{
	char *s = xasprintf("wall %" PRId64 "\nboot %" PRId64 "\ntrusted %"
	    PRId64 "\nid %s\n", c->wall_ms, c->mono_ms, c->trusted_ms,
	    c->boot);
	int rc = disk_replace(path, true, s, strlen(s), o, e);

	free(s);
	c->saved_ms = c->mono_ms;
	if (rc != 0)
		c->known = false;
	return rc;
}

/* For how much longer the clocks have agreed; -1: they have not. */
static int64_t
agreed(const struct retain_clock *c, const char *boot, int64_t wall_ms,
    int64_t mono_ms, int64_t keep_ms)
{
	int64_t wall = wall_ms - c->wall_ms, mono = mono_ms - c->mono_ms;
	int64_t slack = RETAIN_TOLERANCE_MS;

	if (mono >= 0 && (c->boot[0] == '\0' || strcmp(c->boot, boot) == 0)) {
		slack += mono / DRIFT;
		return wall >= mono - slack && wall <= mono + slack ? mono :
		    -1;
	}
	return wall >= mono_ms - slack && wall >= 0 && wall < keep_ms ? wall :
	    -1;
}

int
retain_look(struct retain_clock *c, const char *root,
    const struct disk_owner *o, int64_t wall_ms, int64_t mono_ms,
    int64_t keep_ms, struct err *e)
{
	char *path = xasprintf("%s/.clock", root);
	bool fresh = !c->known, had = true, set = true;
	char boot[BOOT_ID_SIZE];
	int64_t more = -1;
	int rc = 0;

	if (fresh)
		had = load(c, path);
	c->known = true;
	boot_id(boot);
	if (had && wall_ms >= 0)
		more = agreed(c, boot, wall_ms, mono_ms, keep_ms);
	memcpy(c->boot, boot, sizeof boot);
	if (fresh)
		c->saved_ms = c->mono_ms;
	if (more >= 0) {
		set = false;
		c->trusted_ms = c->trusted_ms > INT64_MAX - more ? INT64_MAX :
		    c->trusted_ms + more;
	} else
		c->trusted_ms = 0;
	if (set && had)
		log_line(LOG_WARN, "clock was set, nothing is deleted for one "
		    "retention period", "path", root, "wall_ms", I64(wall_ms),
		    "expected_ms", I64(c->wall_ms + mono_ms - c->mono_ms),
		    NULL);
	c->wall_ms = wall_ms;
	c->mono_ms = mono_ms;
	if (set || mono_ms < c->saved_ms || (mono_ms - c->saved_ms >
	    RETAIN_TOLERANCE_MS && mono_ms - c->saved_ms >
	    keep_ms / SAVES_PER_PERIOD))
		rc = save(c, path, o, e);
	free(path);
	return rc;
}
