/* SPDX-License-Identifier: ISC */
/*
 * Merge, levels and retention against a model: small databases whose state at
 * each TXID is remembered.
 *	unit-compact merge		random chains, merged
 *	unit-compact levels		damage, clocks, what is made when
 *	unit-compact history [SEED]	random histories on a simulated clock
 *	unit-compact run ROOT WALL_MS BOOT_MS RETENTION_MS
 *					one pass over a replica, intervals
 *					of 1, 2, 4 s and the retention
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../compact.h"
#include "../merge.h"
#include "../plan.h"
#include "tap.h"

#define SEED UINT64_C(0x5eed000000000041)
#define PAGE 512u
#define PAGES_MAX 24
#define TXIDS_MAX 20000
#define CHAINS 150
#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define START_MS INT64_C(1700000000000)

static uint64_t seed;

static uint64_t
below(uint64_t n)
{
	return next_random(&seed) % n;
}

/* The model: a page is one number. */
struct state {
	uint32_t page_size, commit, page[PAGES_MAX + 1];
	uint32_t salt;
	uint64_t fingerprint;
	int64_t wall_ms, real_ms;
};

static struct state *at;	/* at[txid] */
static unsigned calm = 1;	/* so many times less changes at once */
static uint64_t newest;
static char *root;
static struct disk_owner owner;

static void
fill(uint8_t *p, uint32_t v, uint32_t page_size)
{
	uint32_t i;

	for (i = 0; i < page_size; i += 4)
		memcpy(p + i, &v, 4);
}

static uint64_t
fingerprint(const struct state *s)
{
	uint8_t p[2 * PAGE];
	uint64_t sum = 0;
	uint32_t i;

	for (i = 1; s->salt != 0 && i <= s->commit; i++) {
		fill(p, s->page[i], s->page_size);
		sum ^= ltx_page_hash(s->salt, i, p, s->page_size);
	}
	return sum;
}

/* Level 0 for the step from at[txid - 1] to at[txid]. */
static void
publish(uint64_t txid, const bool *changed)
{
	const struct state *s = &at[txid], *o = &at[txid - 1];
	struct ltx_header h = { .page_size = s->page_size,
	    .commit = s->commit, .min_txid = txid, .max_txid = txid,
	    .timestamp_ms = s->wall_ms, .wal_offset = 32, .salt = s->salt,
	    .post_fingerprint = s->fingerprint };
	struct ltx_writer *w = NULL;
	struct store_new n;
	struct err e;
	uint8_t p[2 * PAGE];
	uint64_t sum, size;
	uint32_t i;
	bool renamed;

	if (o->salt == s->salt && txid > 1)
		h.pre_fingerprint = o->fingerprint;
	if (store_begin(&n, root, 0, txid, txid, &owner, &e) != 0 ||
	    ltx_create(&w, n.fd, n.tmp, s->page_size, &e) != 0)
		die("%s", e.text);
	for (i = 1; i <= s->commit; i++) {
		if (!changed[i])
			continue;
		fill(p, s->page[i], s->page_size);
		if (ltx_write_page(w, i, p, &e) != 0)
			die("%s", e.text);
	}
	if (ltx_finish(w, &h, &sum, &size, &e) != 0 ||
	    store_publish(&n, h.timestamp_ms, &renamed, &e) != 0)
		die("%s", e.text);
	ltx_free(w);
	store_end(&n);
}

/* One more transaction, at the given time. */
static void
commit(int64_t wall_ms, int64_t real_ms, bool other_sizes)
{
	struct state *s, *o = &at[newest];
	bool changed[PAGES_MAX + 1] = { false };
	uint32_t i;

	if (++newest >= TXIDS_MAX)
		die("too many transactions");
	s = &at[newest];
	*s = *o;
	s->wall_ms = wall_ms;
	s->real_ms = real_ms;
	if (newest == 1)
		s->page_size = PAGE;
	if (newest == 1 || below(4 * calm) == 0)
		s->commit = 1 + (uint32_t)below(PAGES_MAX);
	if (newest == 1 || (other_sizes && below(30) == 0)) {
		s->page_size = newest > 1 && below(2) ? 2 * PAGE : PAGE;
		o = at;
	}
	if (below(50) == 0 || newest == 1)
		s->salt = (uint32_t)below(4);
	for (i = 1; i <= s->commit; i++) {
		changed[i] = i > o->commit || below(5 * calm) == 0;
		if (changed[i])
			s->page[i] = (uint32_t)below(UINT32_MAX);
	}
	s->fingerprint = fingerprint(s);
	publish(newest, changed);
}

/* Applies one file to got, as simply as can be. */
static bool
apply(const struct store_file *f, struct state *got, bool *have)
{
	char *path = store_path(root, f);
	int fd = store_open(root, f, &(struct err){ 0 }), rc = -1;
	struct ltx_reader *r = NULL;
	struct ltx_page p;
	struct err e;
	uint32_t i;

	if (fd >= 0 && ltx_open(&r, fd, path, &e) == 0) {
		if (ltx_header(r)->page_size != got->page_size)
			memset(have, 0, PAGES_MAX + 1);
		got->page_size = ltx_header(r)->page_size;
		got->commit = ltx_header(r)->commit;
		while ((rc = ltx_next(r, &p, &e)) == 1) {
			memcpy(&got->page[p.pgno], p.data, 4);
			have[p.pgno] = true;
		}
	}
	for (i = got->commit + 1; i <= PAGES_MAX; i++)
		have[i] = false;
	ltx_close(r);
	if (fd >= 0)
		close(fd);
	free(path);
	return rc == 0;
}

static bool
same(const struct state *got, const bool *have, const struct state *want)
{
	uint32_t i;

	if (got->page_size != want->page_size || got->commit != want->commit)
		return false;
	for (i = 1; i <= want->commit; i++)
		if (!have[i] || got->page[i] != want->page[i])
			return false;
	return true;
}

/* Whether the list restores txid to what it was. */
static bool
restores(const struct store_list *l, uint64_t txid)
{
	struct state got = { 0 };
	bool have[PAGES_MAX + 1] = { false }, good = true;
	struct plan plan;
	struct err e;
	size_t i;

	if (plan_make(l, 0, txid, &plan, &e) != 0) {
		printf("# TXID %" PRIu64 ": %s\n", txid, e.text);
		return false;
	}
	for (i = 0; i < plan.n; i++)
		good = good && apply(&l->file[plan.file[i]], &got, have);
	plan_free(&plan);
	return good && same(&got, have, &at[txid]);
}

static void
new_root(void)
{
	static int n;

	free(root);
	root = xasprintf("%s/u%d", getenv("T"), ++n);
	if (mkdir(root, 0700) != 0)
		die("cannot make %s", root);
	memset(at, 0, sizeof(*at));
	newest = 0;
}

/* Merging */

static struct store_list
list_level(int level)
{
	struct store_list l;
	struct err e;

	if (store_list(root, level, &l, &e) != 0)
		die("%s", e.text);
	return l;
}

static void
remove_level(int level)
{
	struct store_list l = list_level(level);
	struct err e;
	char *path;
	size_t i;

	for (i = 0; i < l.n; i++) {
		path = store_path(root, &l.file[i]);
		disk_unlink(path, &e);
		free(path);
	}
	store_list_free(&l);
}

/* The header that a merge of lo..hi must have. */
static bool
right_header(const struct store_file *f, uint64_t lo, uint64_t hi)
{
	uint64_t pre = lo > 1 && at[lo].salt == at[hi].salt &&
	    at[lo - 1].salt == at[lo].salt ? at[lo - 1].fingerprint : 0;

	return !f->bad && f->min_txid == lo && f->max_txid == hi &&
	    f->h.timestamp_ms == at[hi].wall_ms &&
	    f->h.commit == at[hi].commit && f->h.salt == at[hi].salt &&
	    f->h.post_fingerprint == at[hi].fingerprint &&
	    f->h.pre_fingerprint == (at[hi].salt != 0 ? pre : 0) &&
	    f->h.flags == LTX_NO_CHECKSUM &&
	    (lo == hi || f->mtime_ms == at[hi].wall_ms);
}

static bool
same_size(uint64_t lo, uint64_t hi)
{
	for (; lo < hi; lo++)
		if (at[lo].page_size != at[hi].page_size)
			return false;
	return true;
}

/* The file makes the state at hi from that before lo. */
static bool
leads(const struct store_file *f, uint64_t lo, uint64_t hi)
{
	struct state got = at[lo - 1];
	bool have[PAGES_MAX + 1] = { false };
	uint32_t i;

	for (i = 1; i <= at[lo - 1].commit; i++)
		have[i] = true;
	return apply(f, &got, have) && same(&got, have, &at[hi]);
}

/* Level 0 lo..hi becomes one file, and gives what level 0 gave. */
static bool
merge_is_right(const struct store_list *l0, uint64_t lo, uint64_t hi)
{
	struct store_file out;
	struct store_list l;
	struct err e;
	bool good;

	if (merge_files(root, &l0->file[lo - 1], hi - lo + 1, 1, lo, &owner,
	    NULL, &out, &e) != 0) {
		printf("# %s\n", e.text);
		return false;
	}
	l = list_level(1);
	good = l.n == 1 && right_header(&l.file[0], lo, hi) &&
	    l.file[0].size == out.size && out.h.commit == at[hi].commit &&
	    leads(&l.file[0], lo, hi);
	store_list_free(&l);
	return good;
}

/* A flipped byte, or a cut, in one of the inputs.  (LZ4 does not look at all
 * bits: if it is no damage, the output must be right.) */
static bool
damage_is_found(const struct store_list *l0, uint64_t lo, uint64_t hi)
{
	const struct store_file *f = &l0->file[lo - 1 + below(hi - lo + 1)];
	char *path = store_path(root, f), *b;
	off_t where = (off_t)below(f->size);
	struct store_file out;
	struct store_list l;
	struct err e;
	size_t n;
	int fd, rc;
	bool good;

	if (disk_read_all(path, 1 << 20, &b, &n, &e) != 0 ||
	    (fd = open(path, O_RDWR)) < 0)
		die("cannot damage %s", path);
	b[where] ^= 1;
	good = pwrite(fd, b + where, 1, where) == 1;
	b[where] ^= 1;
	if (below(2) != 0)
		good = good && ftruncate(fd, where) == 0;
	rc = merge_files(root, &l0->file[lo - 1], hi - lo + 1, 1, lo, &owner,
	    NULL, &out, &e);
	l = list_level(1);
	if (rc == 0)
		good = good && merge_check(root, f, NULL, &e) == 0 &&
		    (lo == hi || leads(&out, lo, hi));
	else
		good = good && e.kind == ERR_DAMAGED && l.n == 0 &&
		    merge_check(root, f, NULL, &e) == -1 &&
		    e.kind == ERR_DAMAGED;
	store_list_free(&l);
	remove_level(1);
	if (!good)
		printf("# %s, byte %ld: %s\n", path, (long)where, e.text);
	if (pwrite(fd, b, n, 0) != (ssize_t)n)
		die("cannot repair %s", path);
	close(fd);
	free(b);
	free(path);
	return good;
}

static bool
no_leftovers(void)
{
	char *cmd = xasprintf("test -z \"$(find %s -name '*.tmp')\"", root);
	bool none = system(cmd) == 0;

	free(cmd);
	return none;
}

static void
test_merge(void)
{
	int round, right = 0, found = 0, clean = 0;
	struct store_list l0;
	uint64_t lo, hi;

	for (round = 0; round < CHAINS; round++) {
		new_root();
		calm = round % 10 == 9 ? 40 : 1;
		hi = calm > 1 ? 300 : 1 + below(40);
		while (newest < hi)
			commit(START_MS + (int64_t)newest, 0, round % 3 == 0);
		l0 = list_level(0);
		lo = below(2) ? 1 : 1 + below(newest);
		hi = lo + below(newest - lo + 1);
		if (hi > 200)
			lo = 1;
		/* Pages of another size are no state to begin with. */
		if (lo > 1 && !same_size(lo - 1, hi))
			lo = 1;
		found += damage_is_found(&l0, lo, hi);
		right += merge_is_right(&l0, lo, hi);
		clean += no_leftovers();
		remove_level(1);
		store_list_free(&l0);
	}
	ok(right == CHAINS, "merged files are right, %d of %d", right, CHAINS);
	ok(found == CHAINS, "damaged inputs give no output, %d of %d", found,
	    CHAINS);
	ok(clean == CHAINS, "nothing is left behind, %d of %d", clean,
	    CHAINS);
}

/* An increment that lacks a page by which the database grew. */
static void
test_hole(void)
{
	bool all[PAGES_MAX + 1], some[PAGES_MAX + 1] = { false };
	static const uint32_t size[] = { 0, 10, 5, 8, 8 };
	struct store_file out;
	struct store_list l;
	struct err e = { .kind = ERR_NONE };
	uint64_t i;

	new_root();
	memset(all, true, sizeof(all));
	some[6] = some[8] = true;
	for (i = 1; i <= 4; i++) {
		at[i] = (struct state){ .page_size = PAGE, .commit = size[i] };
		publish(i, i == 1 ? all : some);
	}
	l = list_level(0);
	ok(merge_files(root, &l.file[1], 3, 1, 2, &owner, NULL, &out,
	    &e) == -1 &&
	    e.kind == ERR_DAMAGED && strstr(e.text, "grew") != NULL,
	    "a page missing from growth is damage");
	ok(merge_files(root, &l.file[2], 2, 1, 3, &owner, NULL, &out, &e) == 0,
	    "if nobody can know, it is not");
	store_list_free(&l);
}

static void
test_link(void)
{
	struct store_file out, far;
	struct store_list l;
	struct stat a, b;
	struct err e = { .kind = ERR_NONE };
	char *from, *to;

	new_root();
	while (newest < 3)
		commit(START_MS, 0, false);
	l = list_level(0);
	from = store_path(root, &l.file[0]);
	if (!ok(merge_files(root, l.file, 1, STORE_SNAPSHOT, 1, &owner, NULL,
	    &out, &e) == 0, "a single input"))
		die("%s", e.text);
	to = store_path(root, &out);
	ok(stat(from, &a) == 0 && stat(to, &b) == 0 && a.st_ino == b.st_ino,
	    "a single input is linked");
	far = l.file[1];
	l.file[1] = l.file[2];
	ok(merge_files(root, l.file, 2, 1, 1, &owner, NULL, &out, &e) == -1 &&
	    e.kind == ERR_DAMAGED && strstr(e.text, "non-contiguous") != NULL,
	    "a hole between inputs");
	l.file[1] = far;
	l.file[1].h.salt = l.file[0].h.salt = 7;
	l.file[1].h.pre_fingerprint = l.file[0].h.post_fingerprint + 1;
	ok(merge_files(root, l.file, 2, 1, 1, &owner, NULL, &out, &e) == -1 &&
	    e.kind == ERR_DAMAGED && strstr(e.text, "does not continue") !=
	    NULL, "fingerprints that do not link");
	store_list_free(&l);
	free(from);
	free(to);
}

/* Histories */

struct sim {
	struct compact c;
	int64_t real_ms;	/* what an ideal clock says */
	int64_t wall_off, boot_off;	/* wall, boot time are real + these */
	int64_t due_ms;
	int64_t jump_ms;	/* real time of the last jump */
	bool jumped;		/* ever */
	uint64_t passes, checked;
	int bad;
	const char *title;
};

__attribute__((format(printf, 2, 3)))
static void
complain(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (++s->bad > 5 && getenv("ALL") == NULL)
		return;
	printf("# %s, real time +%" PRId64 " ms, pass %" PRIu64 ": ",
	    s->title, s->real_ms - START_MS, s->passes);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* The state at a real time: its TXID. */
static uint64_t
txid_at(int64_t real_ms)
{
	uint64_t txid = newest;

	while (txid > 0 && at[txid].real_ms > real_ms)
		txid--;
	return txid;
}

/* The newest TXID <= txid in which a file ends. */
static uint64_t
point_before(const struct store_list *l, uint64_t txid)
{
	uint64_t best = 0;
	size_t i;

	for (i = 0; i < l->n; i++)
		if (l->file[i].max_txid <= txid && l->file[i].max_txid > best)
			best = l->file[i].max_txid;
	return best;
}

/* Every instant has a point that is as fine as promised, with its state. */
static void
check_instant(struct sim *s, const struct store_list *l, int64_t real_ms)
{
	uint64_t want = txid_at(real_ms), got = point_before(l, want), asked;
	int64_t slack = 2 * s->c.interval_ms[1] + SECOND;
	char *doubt = NULL;
	struct err e;

	s->checked++;
	if (want == 0)
		return;
	if (got == 0 || (got < want && (real_ms > s->real_ms -
	    s->c.l0_retention_ms || at[got + 1].real_ms < real_ms - slack)))
		complain(s, "%" PRId64 " ms ago is TXID %" PRIu64 ", the "
		    "nearest point is %" PRIu64, s->real_ms - real_ms, want,
		    got);
	else if (!restores(l, got))
		complain(s, "TXID %" PRIu64 " is not restored", got);
	if (s->jumped)
		return;
	if (plan_at_time(l, real_ms + s->wall_off, &asked, &doubt, &e) != 0)
		complain(s, "%" PRId64 " ms ago: %s", s->real_ms - real_ms,
		    e.text);
	else if (asked != got)
		complain(s, "%" PRId64 " ms ago is TXID %" PRIu64 " by time",
		    s->real_ms - real_ms, asked);
	free(doubt);
}

/* Levels above 0 have no holes, and level 0 has the newest TXID. */
static void
check_levels(struct sim *s, const struct store_list *l)
{
	const struct store_file *f, *b = NULL;
	uint64_t l0 = 0;
	size_t i;

	for (i = 0; i < l->n; i++) {
		f = &l->file[i];
		if (f->bad)
			complain(s, "a bad file at level %d", f->level);
		if (f->level == 0)
			l0 = f->max_txid;
		if (b != NULL && b->level == f->level && f->level !=
		    STORE_SNAPSHOT && f->min_txid != b->max_txid + 1)
			complain(s, "level %d: %" PRIu64 " after %" PRIu64,
			    f->level, f->min_txid, b->max_txid);
		b = f;
	}
	if (l0 != newest)
		complain(s, "the newest level 0 file is %" PRIu64, l0);
	if (s->c.need_rebase)
		complain(s, "needs a rebase: %s", s->c.why);
}

/* What should have gone, long after all jumps. */
static void
check_size(struct sim *s, const struct store_list *l)
{
	const struct compact *c = &s->c;
	int64_t keep = c->snapshot_retention_ms, age, old = keep +
	    2 * c->snapshot_interval_ms + c->interval_ms[3];
	size_t i, n9 = 0, most = 3 + (size_t)(keep / c->snapshot_interval_ms);

	if (s->real_ms - s->jump_ms < 2 * old)
		return;
	for (i = 0; i < l->n; i++) {
		age = s->real_ms - at[l->file[i].max_txid].real_ms;
		n9 += l->file[i].level == STORE_SNAPSHOT;
		if (l->file[i].level == 0 && l->file[i].max_txid < newest &&
		    age > c->l0_retention_ms + 2 * c->interval_ms[1] +
		    2 * c->l0_check_ms)
			complain(s, "level 0 TXID %" PRIu64 " is %" PRId64
			    " ms old", l->file[i].max_txid, age);
		if (l->file[i].level > 0 && l->file[i].level < 9 && age > old &&
		    i + 1 < l->n && l->file[i + 1].level == l->file[i].level &&
		    txid_at(s->real_ms - old) > l->file[i].max_txid + 500)
			complain(s, "level %d TXID %" PRIu64 " is %" PRId64
			    " ms old", l->file[i].level, l->file[i].max_txid,
			    age);
	}
	if (n9 > most)
		complain(s, "%zu snapshots", n9);
}

static void
check(struct sim *s)
{
	int64_t keep = s->c.snapshot_retention_ms, start = s->real_ms - keep;
	struct store_list l = list_level(-1);
	int i;

	check_levels(s, &l);
	check_instant(s, &l, start);
	check_instant(s, &l, s->real_ms);
	check_instant(s, &l, s->real_ms - s->c.l0_retention_ms + 1);
	for (i = 0; i < 3; i++)
		check_instant(s, &l, start + (int64_t)below((uint64_t)keep));
	for (i = 0; i < 4 && l.n > 0; i++)
		if (!restores(&l, l.file[below(l.n)].max_txid))
			complain(s, "a TXID that is shown");
	for (i = 0; i < 9; i++)
		if (pass_newest(&l, i) != NULL &&
		    !restores(&l, pass_newest(&l, i)->max_txid))
			complain(s, "the end of level %d", i);
	if (newest > 0 && !restores(&l, newest))
		complain(s, "the newest state");
	check_size(s, &l);
	store_list_free(&l);
}

static void
run(struct sim *s)
{
	struct err e;
	bool due = !s->c.started || (s->due_ms >= 0 &&
	    s->due_ms <= s->real_ms + s->boot_off);

	if (compact_run(&s->c, s->real_ms + s->wall_off, s->real_ms +
	    s->boot_off, &s->due_ms, &e) != 0)
		complain(s, "%s", e.text);
	if (s->due_ms >= 0 && s->due_ms <= s->real_ms + s->boot_off)
		complain(s, "due again at once");
	if (due) {
		s->passes++;
		check(s);
	}
}

/* Time goes on; timers fire. */
static void
advance(struct sim *s, int64_t ms)
{
	int64_t end = s->real_ms + ms, due;

	for (;;) {
		due = s->due_ms - s->boot_off;
		if (s->due_ms < 0 || due > end)
			break;
		s->real_ms = due > s->real_ms ? due : s->real_ms;
		run(s);
	}
	s->real_ms = end;
}

static void
restart(struct sim *s, bool reboot)
{
	struct compact c;

	compact_init(&c, root, &owner);
	c.levels = s->c.levels;
	memcpy(c.interval_ms, s->c.interval_ms, sizeof(c.interval_ms));
	c.snapshot_interval_ms = s->c.snapshot_interval_ms;
	c.snapshot_retention_ms = s->c.snapshot_retention_ms;
	c.l0_retention_ms = s->c.l0_retention_ms;
	c.l0_check_ms = s->c.l0_check_ms;
	s->c = c;
	s->due_ms = -1;
	if (reboot)
		s->boot_off = MINUTE - s->real_ms;
}

static void
jump(struct sim *s)
{
	static const int64_t by[] = { DAY, -DAY, 3650 * DAY, -3650 * DAY,
	    HOUR, -HOUR, 2 * MINUTE };

	if (s->wall_off != 0 && below(2) != 0)
		s->wall_off = 0;
	else
		s->wall_off += by[below(sizeof(by) / sizeof(by[0]))];
	if (START_MS + s->wall_off < 0)
		s->wall_off = 0;
	s->jumped = true;
	s->jump_ms = s->real_ms;
}

enum mood { STEADY, RESTARTS, JUMPS };

static void
history(const char *title, int steps, enum mood mood, int64_t interval_ms,
    int64_t retention_ms)
{
	struct sim s = { .real_ms = START_MS, .boot_off = HOUR - START_MS,
	    .title = title };
	int i, k;

	new_root();
	s.c.levels = 3;
	s.c.interval_ms[1] = 30 * SECOND;
	s.c.interval_ms[2] = 2 * MINUTE;
	s.c.interval_ms[3] = 10 * MINUTE;
	s.c.snapshot_interval_ms = interval_ms;
	s.c.snapshot_retention_ms = retention_ms;
	s.c.l0_retention_ms = MINUTE;
	s.c.l0_check_ms = 15 * SECOND;
	restart(&s, false);
	for (i = 0; i < steps; i++) {
		k = (int)below(100);
		if (k < 3)
			advance(&s, (int64_t)below((uint64_t)(3 *
			    interval_ms)));
		else if (k < 10)
			advance(&s, (int64_t)below((uint64_t)(interval_ms /
			    3)));
		else
			advance(&s, (int64_t)below(k < 50 ? 5000 : 60000));
		if (mood != STEADY && below(60) == 0) {
			s.real_ms += (int64_t)below((uint64_t)(2 *
			    interval_ms));
			restart(&s, below(3) == 0);
			s.jump_ms = s.real_ms;
			run(&s);
		}
		if (mood == JUMPS && below(40) == 0)
			jump(&s);
		for (k = below(20) == 0 ? 60 : 1; k > 0; k--) {
			advance(&s, k > 1 ? 20 : 0);
			commit(s.real_ms + s.wall_off, s.real_ms, false);
			run(&s);
		}
	}
	advance(&s, 5 * (interval_ms + retention_ms));
	ok(s.due_ms == -1, "%s: comes to rest", title);
	ok(s.bad == 0, "%s: %" PRIu64 " transactions, %" PRIu64 " passes, %"
	    PRIu64 " instants", title, newest, s.passes, s.checked);
}

/* Damage */

/* Cuts the file of that level and range; exits if it is not there. */
static void
spoil(int level, uint64_t min, uint64_t max)
{
	struct store_file f = { .level = level, .min_txid = min,
	    .max_txid = max };
	char *path = store_path(root, &f);

	if (truncate(path, 200) != 0)
		die("cannot cut %s", path);
	free(path);
}

static bool
is_there(int level, uint64_t min, uint64_t max, const char *end)
{
	struct store_file f = { .level = level, .min_txid = min,
	    .max_txid = max };
	char *path = store_path(root, &f);
	char *whole = xasprintf("%s%s", path, end);
	bool there = access(whole, F_OK) == 0;

	free(path);
	free(whole);
	return there;
}

static bool
newest_restores(void)
{
	struct store_list l = list_level(-1);
	bool good = restores(&l, newest);

	store_list_free(&l);
	return good;
}

static void
sim_init(struct sim *s, const char *title)
{
	memset(s, 0, sizeof(*s));
	new_root();
	s->title = title;
	s->real_ms = START_MS;
	s->boot_off = HOUR - START_MS;
	compact_init(&s->c, root, &owner);
	s->c.interval_ms[1] = 30 * SECOND;
	s->c.interval_ms[2] = 2 * MINUTE;
	s->c.interval_ms[3] = 10 * MINUTE;
	s->c.snapshot_interval_ms = s->c.snapshot_retention_ms = HOUR;
}

static void
commits(struct sim *s, int n)
{
	while (n-- > 0) {
		s->real_ms += 10;
		commit(s->real_ms, s->real_ms, false);
	}
}

/* Something was published; then the next end of an interval of level 1. */
static bool
pass(struct sim *s)
{
	struct err e;

	if (compact_run(&s->c, s->real_ms, s->real_ms + s->boot_off,
	    &s->due_ms, &e) != 0)
		return false;
	if (s->c.due_ms[1] >= 0)
		s->real_ms = s->c.due_ms[1] - s->boot_off;
	return compact_run(&s->c, s->real_ms, s->real_ms + s->boot_off,
	    &s->due_ms, &e) == 0;
}

static void
test_damage(void)
{
	struct sim s;
	struct err e;

	sim_init(&s, "damage");
	commits(&s, 3);
	ok(pass(&s) && is_there(1, 1, 3, "") && is_there(3, 1, 3, "") &&
	    is_there(9, 1, 3, ""), "the first pass fills all levels");
	s.real_ms += MINUTE;
	commits(&s, 5);
	spoil(0, 6, 6);
	ok(pass(&s) && is_there(0, 6, 6, ".damaged") && is_there(1, 4, 5, ""),
	    "a damaged input: what leads up to it is merged");
	ok(s.c.need_rebase && s.due_ms == -1 && strstr(s.c.why, "non-cont") !=
	    NULL, "and a rebase is asked for");
	ok(compact_snapshot(&s.c, &e) == -1 && e.kind == ERR_DAMAGED &&
	    !is_there(9, 1, 8, ""), "and there is no snapshot");

	sim_init(&s, "damage");
	commits(&s, 3);
	pass(&s);
	s.real_ms += MINUTE;
	commits(&s, 3);
	pass(&s);
	commits(&s, 1);
	ok(compact_snapshot(&s.c, &e) == 0, "a snapshot before the damage");
	spoil(1, 4, 6);
	s.real_ms += 2 * MINUTE;
	ok(pass(&s) && !s.c.need_rebase && is_there(1, 4, 6, ".damaged") &&
	    is_there(2, 4, 7, "") && newest_restores(),
	    "damage that level 0 covers heals by itself");
	s.c.clock.trusted_ms = DAY;
	ok(compact_retention(&s.c, s.real_ms, s.real_ms + s.boot_off, &e) ==
	    0 && is_there(1, 4, 6, ".damaged"), "an older snapshot is no "
	    "reason to remove what was set aside");
	spoil(9, 1, 3);
	s.real_ms += 3 * HOUR;
	commits(&s, 1);
	s.c.clock.trusted_ms = DAY;
	s.c.due_ms[STORE_SNAPSHOT] = 0;
	ok(pass(&s) && !s.c.need_rebase && is_there(9, 1, 8, "") &&
	    newest_restores(), "a damaged snapshot: another chain serves");
	s.real_ms += 3 * HOUR;
	commits(&s, 1);
	ok(pass(&s) && is_there(9, 1, 9, "") && compact_retention(&s.c,
	    s.real_ms, s.real_ms + s.boot_off, &e) == 0 &&
	    !is_there(1, 4, 6, ".damaged"),
	    "what was set aside goes after a later snapshot");
	commits(&s, 1);
	spoil(0, 10, 10);
	ok(compact_snapshot(&s.c, &e) == -1 && s.c.need_rebase &&
	    is_there(0, 10, 10, ".damaged"), "the newest file is damaged");
	commits(&s, 1);
	ok(compact_retention(&s.c, s.real_ms, s.real_ms + s.boot_off, &e) ==
	    0 && is_there(0, 10, 10, ".damaged"), "it is kept meanwhile");
}

/* Snapshots on demand, and a clock that nobody may believe. */
static void
test_clock(void)
{
	struct sim s;
	struct err e;
	int i;

	sim_init(&s, "clock");
	commits(&s, 3);
	pass(&s);
	commits(&s, 2);
	ok(compact_snapshot(&s.c, &e) == 0 && is_there(9, 1, 5, ""),
	    "a snapshot on demand");
	ok(compact_snapshot(&s.c, &e) == 0, "twice is no failure");
	s.real_ms += 10 * MINUTE;
	pass(&s);
	for (i = 0; i < 3; i++) {
		s.real_ms += MINUTE;
		commits(&s, 2);
		pass(&s);
	}
	ok(!is_there(0, 1, 1, "") && is_there(0, newest, newest, ""),
	    "level 0 goes in its time");
	compact_snapshot(&s.c, &e);
	compact_retention(&s.c, s.real_ms + 3650 * DAY, s.real_ms +
	    s.boot_off, &e);
	restart(&s, false);
	for (i = 0; i < 5; i++)
		compact_retention(&s.c, s.real_ms + 3650 * DAY + i, s.real_ms +
		    s.boot_off + i, &e);
	ok(is_there(9, 1, 3, "") && is_there(0, newest - 1, newest - 1, ""),
	    "a clock ten years ahead deletes nothing");
	compact_retention(&s.c, s.real_ms + 3650 * DAY + 2 * HOUR, s.real_ms +
	    s.boot_off + 2 * HOUR, &e);
	ok(!is_there(9, 1, 3, ""), "until it was right for long enough");
}

/*
 * Level 2 is due at a moment, and level 1, for the same end of an interval, off
 * ms after it, as the two clocks went apart: both are brought up.
 */
static void
test_apart(int64_t off)
{
	int64_t t = START_MS - START_MS % (2 * MINUTE);
	struct sim s;
	struct err e;

	sim_init(&s, "apart");
	s.c.interval_ms[1] = 30 * SECOND;
	s.c.interval_ms[2] = 2 * MINUTE;
	s.real_ms = t + SECOND;
	commits(&s, 1);
	pass(&s);
	s.real_ms = t + 31 * SECOND;
	commits(&s, 1);
	run(&s);
	advance(&s, MINUTE);
	s.boot_off += off;
	commits(&s, 1);
	run(&s);
	s.boot_off -= off;
	s.real_ms = t + 2 * MINUTE + 1;
	run(&s);
	if (s.due_ms >= 0 && s.due_ms <= s.real_ms + s.boot_off + off)
		compact_run(&s.c, s.real_ms + off, s.real_ms + off +
		    s.boot_off, &s.due_ms, &e);
	ok(is_there(1, 3, 3, ""), "clocks %" PRId64 " ms apart make no level "
	    "late", off);
}

/* What the machine was started for the second time, after an hour, finds. */
static int64_t
trusted_after(const char *boot_line)
{
	struct retain_clock c = { 0 };
	char *path = xasprintf("%s/.clock", root);
	char *s = xasprintf("wall %lld\nboot 20000\ntrusted 5000\n%s",
	    (long long)(100 * DAY), boot_line);
	struct err e;

	if (disk_replace(path, true, s, strlen(s), &owner, &e) != 0)
		return -1;
	free(s);
	free(path);
	if (retain_look(&c, root, &owner, 100 * DAY + HOUR, 21000, DAY,
	    &e) != 0)
		return -1;
	return c.trusted_ms;
}

static void
test_boot(void)
{
	char boot[BOOT_ID_SIZE], *line;

	new_root();
	boot_id(boot);
	ok(trusted_after("id another\n") == HOUR + 5000,
	    "the hour between two starts of the machine counts");
	line = xasprintf("id %s\n", boot);
	ok(trusted_after(line) == 0,
	    "without a start between, the clock was set");
	ok(trusted_after("") == 0, "where that is not noted, too");
	free(line);
}

static int
drive(char **argv)
{
	struct compact c;
	struct err e;
	int64_t due;
	int i;

	log_to_stderr();
	compact_init(&c, argv[0], &owner);
	for (i = 1; i <= 3; i++)
		c.interval_ms[i] = SECOND << (i - 1);
	c.snapshot_interval_ms = 8 * SECOND;
	c.snapshot_retention_ms = strtoll(argv[3], NULL, 10);
	c.l0_retention_ms = c.snapshot_retention_ms / 2;
	if (compact_run(&c, strtoll(argv[1], NULL, 10),
	    strtoll(argv[2], NULL, 10), &due, &e) != 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	if (c.need_rebase)
		fprintf(stderr, "needs a rebase: %s\n", c.why);
	return c.need_rebase ? 4 : 0;
}

int
main(int argc, char **argv)
{
	const char *steps = getenv("STEPS");
	int n = steps != NULL ? atoi(steps) : 300;

	disk_owner_private(&owner);
	if (argc == 6 && strcmp(argv[1], "run") == 0)
		return drive(argv + 2);
	log_set_level("error");
	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : SEED;
	printf("# seed 0x%" PRIx64 "\n", seed);
	at = xcalloc(TXIDS_MAX, sizeof(*at));
	if (argc > 1 && strcmp(argv[1], "merge") == 0) {
		test_merge();
		test_hole();
		test_link();
	} else if (argc > 1 && strcmp(argv[1], "levels") == 0) {
		test_damage();
		test_clock();
		test_apart(1);
		test_apart(-1);
		test_apart(2 * SECOND);
		test_boot();
	} else {
		history("steady, interval = retention", n, STEADY, HOUR, HOUR);
		history("steady, long retention", n, STEADY, HOUR, 3 * HOUR);
		history("steady, short retention", n, STEADY, HOUR,
		    20 * MINUTE);
		history("steady, levels lag behind", n, STEADY, 2 * MINUTE,
		    2 * MINUTE);
		history("restarts", n, RESTARTS, HOUR, HOUR);
		history("clock jumps", n, JUMPS, HOUR, HOUR);
		history("clock jumps, long retention", n, JUMPS, HOUR,
		    2 * HOUR);
	}
	return done_testing();
}
