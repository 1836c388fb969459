/* SPDX-License-Identifier: ISC */
/*
 * The schedule of one replica's levels, snapshots and retention.
 *
 * Level N holds what level N-1 held when one of N's intervals ended: one file
 * from N's largest TXID + 1 to N-1's largest.  The intervals are counted from
 * 0001-01-01 UTC, as upstream counts them.  Level 9 is a merge of the newest
 * chain, from TXID 1.  A level is left alone while its newest file has a stamp
 * within the current interval: so a restart makes nothing twice.  (A stamp from
 * the future says that the clock was set back, and nothing else.)
 *
 * Retention follows each pass for level 0, and each snapshot interval for the
 * rest (retain.c), if the clock may be trusted.
 *
 * Timers: due_ms has, for each level, when there may be work; -1 is never.
 * A call at which nothing is due means that something was published, which
 * concerns levels 1 and 9; a pass sets the rest from what it has seen.  So an
 * idle replica comes to rest when its last file has had its time.  Timers for
 * one end of an interval come apart, as wall clock and time since boot do: a
 * pass does what is due within TOGETHER_MS, and puts off no other that is still
 * to come.
 *
 * The search for gaps has a timer of its own, if it is asked for: it only looks
 * and says what it sees.
 */
#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "pass.h"

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define L1_MS (30 * SECOND_MS)
#define L2_MS (5 * MINUTE_MS)
#define L3_MS HOUR_MS
#define SNAPSHOT_MS (24 * HOUR_MS)
#define L0_MS (5 * MINUTE_MS)
#define L0_CHECK_MS (15 * SECOND_MS)
#define TOGETHER_MS 10		/* timers of one moment, by rounding apart */
/* From 0001-01-01 to 1970-01-01. */
#define YEAR_ONE_MS INT64_C(62135596800000)

void
compact_init(struct compact *c, const char *root, const struct disk_owner *o)
{
	int i;

	memset(c, 0, sizeof(*c));
	c->root = root;
	c->owner = *o;
	c->levels = 3;
	c->interval_ms[1] = L1_MS;
	c->interval_ms[2] = L2_MS;
	c->interval_ms[3] = L3_MS;
	c->snapshot_interval_ms = SNAPSHOT_MS;
	c->snapshot_retention_ms = SNAPSHOT_MS;
	c->l0_retention_ms = L0_MS;
	c->l0_check_ms = L0_CHECK_MS;
	c->retention = true;
	for (i = 0; i < STORE_LEVELS; i++)
		c->due_ms[i] = -1;
	c->validation_due_ms = -1;
}

/* Time */

static int64_t
interval(const struct compact *c, int level)
{
	if (level == 0)
		return c->l0_check_ms;
	return level == STORE_SNAPSHOT ? c->snapshot_interval_ms :
	    c->interval_ms[level];
}

/* The last end of an interval that is not after t. */
static int64_t
boundary(int64_t t, int64_t every)
{
	return every > 0 && t >= -YEAR_ONE_MS ? t - (t + YEAR_ONE_MS) % every :
	    t;
}

static bool
due(const struct compact *c, int level, int64_t mono_ms)
{
	return c->due_ms[level] >= 0 && c->due_ms[level] <= mono_ms;
}

/* Due at the first end of an interval that is not before t, and after now. */
static void
set_due(struct compact *c, int level, int64_t t, int64_t wall_ms,
    int64_t mono_ms)
{
	int64_t every = interval(c, level), at;

	at = boundary(t - 1, every) + every;
	if (at <= wall_ms)
		at = boundary(wall_ms, every) + every;
	/* One more, lest rounding wakes us just before it. */
	c->due_ms[level] = mono_ms + (at - wall_ms) + 1;
}

/* Passes */

static void
begin(struct pass *p, const struct compact *c)
{
	memset(p, 0, sizeof(*p));
	p->root = c->root;
	p->db = c->db;
	p->owner = &c->owner;
	p->cancel = c->cancel;
	p->count = c->count;
}

static void
end(struct pass *p, struct compact *c)
{
	pass_end(p);
	if (p->why[0] != '\0') {
		c->need_rebase = true;
		memcpy(c->why, p->why, sizeof(c->why));
		log_line(LOG_WARN, "chain cannot be continued, a full image "
		    "is needed", "path", c->root, "error", c->why, NULL);
	}
	store_list_free(&p->l);
}

/* Whether the level has a file of this interval. */
static bool
too_early(const struct compact *c, const struct pass *p, int level,
    int64_t wall_ms)
{
	const struct store_file *f = pass_newest(&p->l, level);

	return f != NULL &&
	    f->h.timestamp_ms > boundary(wall_ms, interval(c, level)) &&
	    f->h.timestamp_ms <= wall_ms + RETAIN_TOLERANCE_MS;
}

/* The levels that are due, the others too if one fails. */
static int
bring_up(struct compact *c, struct pass *p, int64_t wall_ms, int64_t mono_ms,
    struct err *e)
{
	struct err why;
	int level, rc = 0;

	for (level = 1; level < STORE_LEVELS && p->why[0] == '\0'; level++) {
		if ((level > c->levels && level != STORE_SNAPSHOT) ||
		    !due(c, level, mono_ms + TOGETHER_MS) ||
		    too_early(c, p, level, wall_ms))
			continue;
		if (pass_bring_up(p, level, &why) != 0 && rc == 0) {
			*e = why;
			rc = -1;
		}
	}
	return rc;
}

/* The promise; all: above level 0 too. */
static void
rule_at(const struct compact *c, int64_t wall_ms, bool all,
    struct retain_rule *r)
{
	int64_t every = c->snapshot_interval_ms;

	r->now_ms = wall_ms;
	r->keep_ms = all ? c->snapshot_retention_ms : INT64_MAX;
	r->l0_ms = c->l0_retention_ms > 0 ? c->l0_retention_ms : -1;
	r->future_ms = c->clock.trusted_ms;
	r->levels = c->levels;
	r->floor = 1;
	if (every > 0)
		r->floor += (size_t)((c->snapshot_retention_ms + every - 1) /
		    every);
}

/* all: above level 0 too. */
static int
enforce(struct compact *c, struct pass *p, int64_t wall_ms, bool all,
    struct err *e)
{
	struct retain_rule r;
	bool *go;
	int rc;

	if (!c->retention || c->need_rebase || p->why[0] != '\0')
		return 0;
	all = all && c->clock.trusted_ms >= c->snapshot_retention_ms;
	rule_at(c, wall_ms, all, &r);
	if (c->clock.trusted_ms < c->l0_retention_ms)
		r.l0_ms = -1;
	if (pass_choose(p, &r, &c->proofs, &go, e) != 0)
		return -1;
	rc = pass_delete(p, go, e);
	free(go);
	if (rc == 0 && all)
		rc = pass_sweep_damaged(p, &c->proofs, e);
	return rc;
}

/* How the files of level 0 stand that are left. */
static void
count_l0(const struct compact *c, const struct store_list *l, int64_t wall_ms)
{
	uint64_t n[PASS_COUNTERS] = { 0 }, merged = pass_max(l, 1);
	const struct store_file *f;
	struct retain_rule r;
	size_t i;
	int what;

	if (c->count == NULL)
		return;
	rule_at(c, wall_ms, false, &r);
	for (i = 0; i < l->n; i++) {
		f = &l->file[i];
		if (f->level == 0 && !f->bad)
			n[f->max_txid > merged ? PASS_NOT_COMPACTED :
			    r.l0_ms < 0 || retain_age(&r, f) < r.l0_ms ?
			    PASS_TOO_RECENT : PASS_ELIGIBLE]++;
	}
	for (what = PASS_ELIGIBLE; what < PASS_COUNTERS; what++)
		atomic_store(&c->count[what], n[what]);
}

/* What would go at that time, if all could be proven: at level 0, or above. */
static bool
something_goes(const struct store_list *l, const struct retain_rule *r,
    bool above)
{
	const struct store_file *base;
	bool *go = xcalloc(l->n + 1, sizeof(*go)), some = false;
	size_t i;

	retain_choose(r, l, go, &base);
	for (i = 0; i < l->n; i++)
		some = some || (go[i] && (l->file[i].level > 0) == above);
	free(go);
	return some;
}

/* When the file is so old, and the clock has been right for so long. */
static int64_t
of_age(const struct compact *c, const struct store_file *f, int64_t age_ms,
    int64_t wall_ms)
{
	int64_t t = f->h.timestamp_ms;
	int64_t trusted = wall_ms + age_ms - c->clock.trusted_ms;

	t = t > wall_ms + RETAIN_TOLERANCE_MS || t < 0 ? 0 : t + age_ms;
	return t > trusted ? t : trusted;
}

/*
 * When retention has something to do at level 0, in wall time; or -1.  The
 * lowest files go first, when the last that is in the same file of level 1 is
 * of age.
 */
static int64_t
next_l0(const struct compact *c, const struct store_list *l, int64_t wall_ms)
{
	const struct store_file *f, *last = NULL;
	struct retain_rule r;
	uint64_t end = UINT64_MAX;
	size_t i;

	rule_at(c, wall_ms, false, &r);
	if (!c->retention || r.l0_ms < 0)
		return -1;
	r.l0_ms = 0;
	if (!something_goes(l, &r, false))
		return -1;
	for (i = 0; i < l->n; i++) {
		f = &l->file[i];
		if (!f->bad && f->level == 1 && f->max_txid < end &&
		    f->max_txid >= l->file[0].max_txid)
			end = f->max_txid;
	}
	for (i = 0; i < l->n; i++)
		if (l->file[i].level == 0 && l->file[i].max_txid <= end)
			last = &l->file[i];
	return last == NULL ? -1 : of_age(c, last, c->l0_retention_ms,
	    wall_ms);
}

/* The same above level 0: when another snapshot comes of age. */
static int64_t
next_levels(const struct compact *c, const struct store_list *l,
    int64_t wall_ms)
{
	struct retain_rule r;
	int64_t t, best = -1;
	size_t i;

	for (i = 0; c->retention && i < l->n; i++) {
		if (l->file[i].level != STORE_SNAPSHOT || l->file[i].bad)
			continue;
		t = of_age(c, &l->file[i], c->snapshot_retention_ms, wall_ms);
		t = t > wall_ms ? t : wall_ms;
		if (best >= 0 && t >= best)
			continue;
		rule_at(c, t, true, &r);
		r.future_ms = r.keep_ms;
		if (something_goes(l, &r, true))
			best = t;
	}
	return best;
}

/* Timers, from what there is. */
static void
schedule(struct compact *c, const struct store_list *l, int64_t wall_ms,
    int64_t mono_ms)
{
	int64_t was[STORE_LEVELS], t;
	int i;

	memcpy(was, c->due_ms, sizeof(was));
	for (i = 0; i < STORE_LEVELS; i++)
		c->due_ms[i] = -1;
	for (i = 1; i <= c->levels; i++)
		if (pass_max(l, i - 1) > pass_max(l, i))
			set_due(c, i, wall_ms, wall_ms, mono_ms);
	if ((t = next_l0(c, l, wall_ms)) >= 0)
		set_due(c, 0, t, wall_ms, mono_ms);
	if (pass_max(l, -1) > pass_max(l, STORE_SNAPSHOT))
		set_due(c, STORE_SNAPSHOT, wall_ms, wall_ms, mono_ms);
	else if ((t = next_levels(c, l, wall_ms)) >= 0)
		set_due(c, STORE_SNAPSHOT, t, wall_ms, mono_ms);
	for (i = 0; i < STORE_LEVELS; i++)
		if (was[i] > mono_ms + TOGETHER_MS && was[i] < c->due_ms[i])
			c->due_ms[i] = was[i];
}

static int
look_at_clock(struct compact *c, int64_t wall_ms, int64_t mono_ms,
    struct err *e)
{
	return retain_look(&c->clock, c->root, &c->owner, wall_ms, mono_ms,
	    c->snapshot_retention_ms, e);
}

static void
complain(const struct compact *c, const struct store_file *f,
    const char *type, const struct store_file *before)
{
	char *message = xasprintf("a file ends in %s, the next begins with %s",
	    TXID(before->max_txid), TXID(f->min_txid));

	log_line(LOG_WARN, "validation error detected", "path", c->root,
	    "level", I64(f->level), "type", type, "message", message, NULL);
	free(message);
}

/* Each level but the snapshots is one chain; retention may leave holes below
 * the oldest snapshot. */
static void
validate(struct compact *c, const struct store_list *l, int64_t mono_ms)
{
	const struct store_file *f, *before = NULL;
	uint64_t floor = 0;
	size_t i;

	if (c->validation_due_ms < 0 || c->validation_due_ms > mono_ms)
		return;
	c->validation_due_ms = mono_ms + c->validation_ms;
	for (i = l->n; i-- > 0 && l->file[i].level == STORE_SNAPSHOT;)
		floor = l->file[i].max_txid;
	for (i = 0; i < l->n && l->file[i].level < STORE_SNAPSHOT; i++) {
		f = &l->file[i];
		if (before != NULL && before->level == f->level) {
			if (f->min_txid <= before->max_txid)
				complain(c, f, "overlap", before);
			else if (f->min_txid > before->max_txid + 1 &&
			    f->min_txid > floor + 1)
				complain(c, f, "gap", before);
		}
		before = f;
	}
}

/* One pass over all that is due. */
static int
run(struct compact *c, int64_t wall_ms, int64_t mono_ms, struct err *e)
{
	struct pass p;
	struct err why;
	uint64_t newest;
	int rc;

	begin(&p, c);
	rc = pass_begin(&p, e);
	if (rc == 0 && p.l.n > 0) {
		newest = pass_max(&p.l, STORE_SNAPSHOT);
		if (!c->started)
			rc = pass_sweep_tmp(&p, e);
		c->started = true;
		if (bring_up(c, &p, wall_ms, mono_ms, &why) != 0) {
			*e = why;
			rc = -1;
		}
		if (pass_max(&p.l, STORE_SNAPSHOT) > newest)
			c->snapshot_txid = pass_max(&p.l, STORE_SNAPSHOT);
		/* A full disk is a reason to go on. */
		if (look_at_clock(c, wall_ms, mono_ms, &why) != 0 ||
		    enforce(c, &p, wall_ms, due(c, STORE_SNAPSHOT, mono_ms +
		    TOGETHER_MS), &why) != 0) {
			*e = why;
			rc = -1;
		}
	}
	validate(c, &p.l, mono_ms);
	schedule(c, &p.l, wall_ms, mono_ms);
	count_l0(c, &p.l, wall_ms);
	end(&p, c);
	return rc;
}

/* Everything is due at the start, and after the wall clock was set. */
static void
find_due(struct compact *c, int64_t wall_ms, int64_t mono_ms)
{
	int64_t drift = wall_ms - c->clock.wall_ms -
	    (mono_ms - c->clock.mono_ms);
	int i;

	if (c->started && drift >= -RETAIN_TOLERANCE_MS &&
	    drift <= RETAIN_TOLERANCE_MS)
		return;
	for (i = 0; i < STORE_LEVELS; i++)
		c->due_ms[i] = mono_ms;
}

/* Something was published. */
static void
wake(struct compact *c, int64_t wall_ms, int64_t mono_ms)
{
	if (c->due_ms[1] < 0 && c->levels > 0)
		set_due(c, 1, wall_ms, wall_ms, mono_ms);
	if (c->due_ms[STORE_SNAPSHOT] < 0)
		set_due(c, STORE_SNAPSHOT, wall_ms, wall_ms, mono_ms);
}

int
compact_run(struct compact *c, int64_t wall_ms, int64_t mono_ms,
    int64_t *next_due_ms, struct err *e)
{
	bool some;
	int i, rc = 0;

	*next_due_ms = -1;
	if (c->need_rebase)
		return 0;
	find_due(c, wall_ms, mono_ms);
	if (c->validation_ms > 0 && c->validation_due_ms < 0)
		c->validation_due_ms = mono_ms + c->validation_ms;
	some = c->validation_due_ms >= 0 && c->validation_due_ms <= mono_ms;
	for (i = 0; i < STORE_LEVELS; i++)
		some = some || due(c, i, mono_ms);
	if (some)
		rc = run(c, wall_ms, mono_ms, e);
	else
		wake(c, wall_ms, mono_ms);
	if (!c->need_rebase)
		*next_due_ms = c->validation_due_ms;
	for (i = 0; i < STORE_LEVELS && !c->need_rebase; i++)
		if (c->due_ms[i] >= 0 && (*next_due_ms < 0 ||
		    c->due_ms[i] < *next_due_ms))
			*next_due_ms = c->due_ms[i];
	return rc;
}

int
compact_snapshot(struct compact *c, struct err *e)
{
	struct pass p;
	int rc;

	begin(&p, c);
	rc = pass_begin(&p, e);
	if (rc == 0)
		rc = pass_bring_up(&p, STORE_SNAPSHOT, e);
	end(&p, c);
	if (rc == 0 && c->need_rebase)
		rc = err_set(e, ERR_DAMAGED, "%s", c->why);
	return rc;
}

int
compact_retention(struct compact *c, int64_t wall_ms, int64_t mono_ms,
    struct err *e)
{
	struct pass p;
	int rc;

	begin(&p, c);
	rc = pass_begin(&p, e);
	if (rc == 0 && p.l.n > 0 && (look_at_clock(c, wall_ms, mono_ms,
	    e) != 0 || enforce(c, &p, wall_ms, true, e) != 0))
		rc = -1;
	end(&p, c);
	return rc;
}

bool
compact_waits(const struct compact *c)
{
	return !c->started || (c->levels > 0 && c->due_ms[1] < 0) ||
	    c->due_ms[STORE_SNAPSHOT] < 0;
}
