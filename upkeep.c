/* SPDX-License-Identifier: ISC */
/*
 * Moments.
 *
 * The first commit after a pause is published at once; under load passes are
 * spaced.  A wake that finds nothing is followed by looks after 1, 2, 4 .. ms,
 * since the index is written after the WAL and makes no event.  After the last
 * commit come a checkpoint, an emptied WAL, a saved table.  Once per audit
 * interval all pages are compared, in slices.  The heartbeat sees what no watch
 * reports; idle, only that is left.
 *
 * While nothing works only the retry is due, and whether the WAL, which the
 * pins keep, is about to fill the application's disk.
 */
#include <sys/stat.h>

#include <string.h>

#include "checkpoint.h"
#include "upkeep.h"
#include "wal.h"

#define HEARTBEAT_MS 10000
#define POLL_MS 100		/* where there are no events */
#define SPACING_MS 100		/* between passes under load, at least, */
#define SPACING_MAX_MS 2000	/* and at most */
#define LOOK_MAX_MS 1024	/* the last of 1, 2, 4 .. ms */
#define GHOST_MS 60000		/* how long a transaction past the index is */
#define GHOST_STEP_MS 1000	/* looked for, and how often */
#define CHECKPOINT_FRAMES 750
#define CHECKPOINT_MS 1000	/* after the last commit */
#define CHECKPOINT_RETRY_MAX_MS 60000
#define WINDOW_FRAMES (4 * CHECKPOINT_FRAMES)	/* more: copy first */
#define LOCKED_FRAMES 16384
#define LOCKED_TRIES 4		/* windows that did not help */
#define TRUNCATE_FRAMES 121359
#define TRUNCATE_MS 2000	/* after the last commit */
#define SAVE_MS 3000		/* after the last commit, */
#define SAVE_MAX_MS 60000	/* or since the last save; */
#define SAVE_PART 10		/* later where saving takes long */
#define AUDIT_REST_MS 100	/* between slices */
#define AUDIT_FIRST 24		/* the first begins after this part */
#define SPARE_MS 50		/* between looks at it while nothing works */
#define NEVER INT64_MAX

/* After a pass that found commits: what follows when nothing more comes. */
static void
plan_rest(struct upkeep *u, int64_t now)
{
	int64_t last;

	u->checkpoint_wait = CHECKPOINT_MS;
	u->checkpoint_at = now + CHECKPOINT_MS;
	u->truncate_wait = TRUNCATE_MS;
	u->truncate_at = now + TRUNCATE_MS;
	u->save_at = now + SAVE_MS + SAVE_PART * u->save_ms;
	last = u->last_save + SAVE_MAX_MS + 10 * SAVE_PART * u->save_ms;
	if (u->save_at > last)
		u->save_at = last;
	u->look_ms = 0;
	u->look_at = NEVER;
	u->ghost_until = 0;
}

/* The same moment for all databases: a thousand that wake up together cost a
 * third of what they cost one by one, each with cold caches. */
static int64_t
next_heartbeat(int64_t now)
{
	return (now / HEARTBEAT_MS + 1) * HEARTBEAT_MS;
}

/* After a wake that found nothing: 1, 2, 4 .. ms, then each second while there
 * is something to wait for. */
static void
plan_look(struct upkeep *u, int64_t now)
{
	if (u->look_ms < LOOK_MAX_MS) {
		u->look_ms = u->look_ms == 0 ? 1 : 2 * u->look_ms;
		u->look_at = now + u->look_ms;
		return;
	}
	u->look_at = NEVER;
	if (!capture_ghost(&u->pair->c))
		return;
	if (u->ghost_until == 0)
		u->ghost_until = now + GHOST_MS;
	if (now < u->ghost_until)
		u->look_at = now + GHOST_STEP_MS;
}

static void
count(struct upkeep *u, enum state_counter what, uint64_t n)
{
	atomic_fetch_add(&u->pair->state.count[what], n);
}

static void
measure(struct upkeep *u, enum state_counter what, uint64_t n)
{
	atomic_store(&u->pair->state.count[what], n);
}

/* Counts what happened, its failure, and how long it took: these three
 * counters stand together. */
static void
count_work(struct upkeep *u, enum state_counter what, int rc, int64_t start)
{
	count(u, what, 1);
	count(u, what + 1, rc != 0);
	count(u, what + 2, (uint64_t)(time_mono_ms() - start));
}

/* One of checkpoint.h's, counted and said. */
static int
checkpoint(struct upkeep *u, int (*way)(struct capture *, bool *,
    struct err *), bool *done, struct err *e)
{
	bool truncates = way == checkpoint_truncate;
	int64_t start = time_mono_ms();
	int rc = way(&u->pair->c, done, e);

	count_work(u, truncates ? STATE_TRUNCATES : STATE_PASSIVES, rc,
	    start);
	log_line(LOG_DEBUG, "checkpoint", "db", u->pair->cf.db_path, "mode",
	    truncates ? "TRUNCATE" : "PASSIVE", "result", rc != 0 ?
	    "failed" : *done ? "complete" : "incomplete", NULL);
	return rc;
}

static uint64_t
wal_bytes(const struct upkeep *u)
{
	struct stat st;

	return stat(db_wal_path(u->pair->c.db), &st) == 0 ?
	    (uint64_t)st.st_size : 0;
}

static bool
too_large(const struct upkeep *u)
{
	int64_t frames = u->truncate_frames != 0 ? u->truncate_frames :
	    TRUNCATE_FRAMES;

	return frames > 0 && frames <= UINT32_MAX && wal_bytes(u) >
	    wal_size((uint32_t)frames, u->pair->pages.page_size);
}

/*
 * When the WAL is long: checkpoints while the application goes on.  Without any
 * lock; if that does not reach the end, in a window, for as long as that works;
 * at last with the write lock.
 */
static int
shorten(struct upkeep *u, struct err *e)
{
	struct capture *c = &u->pair->c;
	bool complete = false;

	if (c->pos.frames <= (u->checkpoint_frames != 0 ?
	    u->checkpoint_frames : CHECKPOINT_FRAMES))
		return 0;
	if (checkpoint_is_complete(c, &complete, e) != 0)
		return -1;
	if (complete)
		return 0;
	if ((!u->busy || c->pos.frames > WINDOW_FRAMES) &&
	    checkpoint(u, checkpoint_free, &complete, e) != 0)
		return -1;
	if (!complete) {
		if (checkpoint(u, checkpoint_window, &complete, e) != 0)
			return -1;
		u->busy = complete;
	}
	if (!complete && c->pos.frames > LOCKED_FRAMES &&
	    u->tries >= LOCKED_TRIES &&
	    checkpoint(u, checkpoint_locked, &complete, e) != 0)
		return -1;
	u->tries = complete ? 0 : u->tries + 1;
	if (complete && too_large(u))
		return checkpoint(u, checkpoint_truncate, &complete, e);
	return 0;
}

/* A level cannot go on: the chain is closed by a full image. */
static int
heal(struct upkeep *u, struct err *e)
{
	char why[256];
	int rc;

	if (u->rebase_why[0] == '\0' &&
	    levels_wants_rebase(u->levels, why, sizeof why))
		memcpy(u->rebase_why, why, sizeof why);
	if (u->rebase_why[0] == '\0')
		return 0;
	levels_suspend(u->levels);
	if ((rc = pair_rebase(u->pair, u->rebase_why, e)) == 0)
		u->rebase_why[0] = '\0';
	levels_resume(u->levels);
	return rc;
}

/* What the WAL had, from where the pass began to where it ended. */
static void
count_wal(struct upkeep *u, const struct wal_pos *from)
{
	const struct wal_pos *to = &u->pair->c.pos;
	uint32_t page_size = u->pair->pages.page_size;
	uint64_t begin = 0, end = 0;

	if (to->frames > 0)
		end = wal_size(to->frames, page_size);
	if (to->salt1 == from->salt1 && to->salt2 == from->salt2 &&
	    from->frames > 0 && to->frames >= from->frames)
		begin = wal_size(from->frames, page_size);
	count(u, STATE_WAL_BYTES, end - begin);
	measure(u, STATE_WAL_SIZE, end);
	measure(u, STATE_DB_SIZE, (uint64_t)u->pair->pages.commit *
	    page_size);
}

static int
pass(struct upkeep *u, struct err *e)
{
	struct capture *c = &u->pair->c;
	const char *reason = c->doubt ? c->reason : "";
	struct wal_pos from = c->pos;
	int64_t start = time_mono_ms(), took;
	uint64_t files = c->em.published;
	bool found;
	int rc = capture_pass(c, &found, e);

	count_work(u, STATE_SYNCS, 0, start);	/* failed: upkeep_work() */
	if (rc != 0)
		return -1;
	count_wal(u, &from);
	measure(u, STATE_DISK_FULL, 0);
	took = time_mono_ms() - start;
	u->pass_at = NEVER;
	if (!found) {
		plan_look(u, start);
		return 0;
	}
	plan_rest(u, start + took);
	if (files != c->em.published)
		pair_log_sync(u->pair, reason, took);
	took = 10 * took > SPACING_MAX_MS ? SPACING_MAX_MS : 10 * took;
	if (u->sync_interval_ms >= 0)
		took = u->sync_interval_ms;
	else if (took < SPACING_MS)
		took = SPACING_MS;
	u->spacing_until = start + took;
	return shorten(u, e);
}

/* One second after the last commit: everything into the database file. */
static int
settle(struct upkeep *u, int64_t now, struct err *e)
{
	bool complete;

	u->checkpoint_at = NEVER;
	if (checkpoint(u, checkpoint_free, &complete, e) != 0)
		return -1;
	if (complete) {
		u->tries = 0;
		return 0;
	}
	u->checkpoint_at = now + u->checkpoint_wait;
	u->checkpoint_wait *= 2;
	if (u->checkpoint_wait > CHECKPOINT_RETRY_MAX_MS)
		u->checkpoint_wait = CHECKPOINT_RETRY_MAX_MS;
	return 0;
}

static int
empty_wal(struct upkeep *u, struct err *e)
{
	bool done;

	u->truncate_at = NEVER;
	if (checkpoint(u, checkpoint_truncate, &done, e) != 0)
		return -1;
	if (done || wal_bytes(u) == 0)
		return 0;
	u->truncate_wait *= 2;	/* somebody reads it */
	if (u->truncate_wait > CHECKPOINT_RETRY_MAX_MS)
		u->truncate_wait = CHECKPOINT_RETRY_MAX_MS;
	u->truncate_at = time_mono_ms() + u->truncate_wait;
	return 0;
}

/* While the replica cannot be written: is the WAL about to fill the disk? */
static void
spare_disk(struct upkeep *u)
{
	uint64_t size;
	struct err e;

	if (!checkpoint_must_let_go(u->pair->c.db, &size))
		return;
	if (!u->pair->c.doubt)
		log_line(LOG_ERROR, "letting go of the WAL, which is too "
		    "long: points in time will be missing", "path",
		    u->pair->cf.db_path, "size", I64(size), NULL);
	if (checkpoint_let_go(&u->pair->c, &e) != 0)
		log_line(LOG_DEBUG, "checkpoint failed", "error", e.text,
		    NULL);
}

/* A slice, and when the next one or the next audit is due. */
static int
look_back(struct upkeep *u, int64_t now, struct err *e)
{
	bool done;

	if (audit_slice(&u->audit, &u->pair->c, &done, e) != 0)
		return -1;
	u->audit_at = now + (done ? u->audit_interval_ms : AUDIT_REST_MS);
	if (done) {
		u->pair->facts.audit_ms = time_wall_ms();
		u->pair->facts.differed += u->audit.differed - u->differed;
		u->differed = u->audit.differed;
		pair_tell(u->pair, STATE_OK, false);
	}
	return 0;
}

int
upkeep_root(struct upkeep *u, struct err *e)
{
	switch (pair_root(u->pair)) {
	case PAIR_ROOT_SAME:
		if (u->away)
			levels_resume(u->levels);
		u->away = false;
		return 0;
	case PAIR_ROOT_OTHER:
		return 1;
	default:
		u->pass_at = 0;
		levels_suspend(u->levels);
		u->away = true;
		return err_set(e, ERR_AWAY, "%s: replica is not mounted",
		    u->pair->cf.root);
	}
}

/* Of a pass that began at start, or later. */
static void
tell_success(struct upkeep *u, int64_t start)
{
	struct state_facts *f = &u->pair->facts;

	trouble_over(&u->trouble, u->pair->cf.db_path, u->pair->pages.txid);
	f->pass_ms = start;
	levels_error(u->levels, f->levels, sizeof f->levels);
	pair_tell(u->pair, STATE_OK, u->asked);
	u->asked = false;
}

static int
work(struct upkeep *u, bool names, struct err *e)
{
	int64_t now = time_mono_ms();
	int rc;

	if (now >= u->heartbeat_at) {
		u->heartbeat_at = next_heartbeat(now);
		names = true;
		if (u->pass_at == NEVER)
			u->pass_at = 0;
		u->look_ms = LOOK_MAX_MS;
	}
	if (!u->watched) {
		names = true;
		if (u->pass_at == NEVER)
			u->pass_at = 0;
	}
	if (now >= u->look_at) {
		u->look_at = NEVER;
		u->pass_at = 0;
	}
	u->asked |= state_asked(&u->pair->state);
	if (u->asked) {
		names = true;
		u->pass_at = 0;
		if (u->trouble.e.kind == ERR_NONE)
			u->spacing_until = now;
	}
	if (names && db_has_moved(u->pair->c.db))
		return 1;
	if (u->pass_at <= now && now >= u->spacing_until) {
		if ((rc = upkeep_root(u, e)) != 0)
			return rc;
		if (heal(u, e) != 0 || pass(u, e) != 0)
			return -1;
		tell_success(u, now);
	}
	if (u->trouble.e.kind != ERR_NONE) {
		if (now >= u->spare_at) {
			spare_disk(u);
			u->spare_at = now + SPARE_MS;
		}
		return 0;
	}
	if ((now >= u->checkpoint_at && settle(u, now, e) != 0) ||
	    (now >= u->truncate_at && empty_wal(u, e) != 0) ||
	    (now >= u->audit_at && look_back(u, now, e) != 0))
		return -1;
	if (now >= u->save_at) {
		pair_save(u->pair);
		pair_tell(u->pair, STATE_OK, false);
		u->save_at = NEVER;
		u->last_save = time_mono_ms();
		u->save_ms = u->last_save - now;
	}
	return 0;
}

int64_t
upkeep_next(const struct upkeep *u)
{
	int64_t at = u->heartbeat_at, pass_at = u->pass_at;

	if (pass_at != NEVER && pass_at < u->spacing_until)
		pass_at = u->spacing_until;
	if (pass_at < at)
		at = pass_at;
	if (u->look_at < at)
		at = u->look_at;
	if (!u->watched && time_mono_ms() + POLL_MS < at)
		at = time_mono_ms() + POLL_MS;
	if (u->trouble.e.kind != ERR_NONE)
		return at;
	if (u->checkpoint_at < at)
		at = u->checkpoint_at;
	if (u->truncate_at < at)
		at = u->truncate_at;
	if (u->save_at < at)
		at = u->save_at;
	if (u->audit_at < at)
		at = u->audit_at;
	return at;
}

void
upkeep_begin(struct upkeep *u)
{
	int64_t now = time_mono_ms();

	trouble_over(&u->trouble, u->pair->cf.db_path, u->pair->pages.txid);
	u->last_save = now;
	plan_rest(u, now);
	u->pass_at = 0;		/* what came before the watch */
	u->spacing_until = now;
	u->heartbeat_at = next_heartbeat(now);
	u->audit_at = u->audit_interval_ms > 0 ?
	    now + u->audit_interval_ms / AUDIT_FIRST : NEVER;
	u->audit.next = 0;
	u->tries = 0;
	u->busy = u->away = false;
	u->asked = true;	/* by whoever asked before we watched */
}

void
upkeep_wake(struct upkeep *u)
{
	if (u->pass_at == NEVER)
		u->pass_at = 0;
	u->look_ms = 0;
}

int
upkeep_work(struct upkeep *u, bool names, struct err *e)
{
	uint64_t files = u->pair->c.em.published;
	int64_t start = time_mono_ms(), now;
	int rc = work(u, names, e);

	if (files != u->pair->c.em.published)
		levels_note(u->levels);
	if (rc >= 0)
		return rc;
	now = time_mono_ms();
	count(u, STATE_SYNC_ERRORS, 1);
	measure(u, STATE_DISK_FULL, e->kind == ERR_FULL);
	u->spacing_until = now + trouble_met(&u->trouble,
	    u->pair->cf.db_path, e, now - start);
	if (u->trouble.said)
		pair_tell_error(u->pair, e);
	u->pass_at = 0;
	return -1;
}
