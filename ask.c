/* SPDX-License-Identifier: ISC */
/*
 * Asking, and waiting.
 *
 * Who waits looks from time to time, and holds nothing meanwhile: what it waits
 * for may be started again or forgotten by another one.  A wait is rare, and
 * ends with a disk.
 */
#include "ask.h"

#define STEP_MAX_MS 50		/* between looks */
#define MS 1000

static int
absent(const char *db_path, struct err *e)
{
	return err_set(e, ERR_ABSENT, "database not found: %s", db_path);
}

/* A moment; -1: it is too late, or the process ends. */
static int
nap(const struct fleet_report *r, const char *db_path, int64_t until,
    int64_t *step, struct err *e)
{
	const struct state_facts *s = &r->job.facts;
	bool failing = s->word == STATE_ERROR || s->word == STATE_AWAY;
	int64_t left = until - time_mono_ms();

	if (left <= 0 || r->state == FLEET_ENDING)
		return err_set(e, ERR_BUSY, "%s: timeout: the replicator is "
		    "at \"%s\"%s%s", db_path, state_name(s->word),
		    failing ? ": " : "", failing ? s->error : "");
	sleep_ms(*step < left ? *step : left);
	*step = 2 * *step < STEP_MAX_MS ? 2 * *step : STEP_MAX_MS;
	return 0;
}

int
ask_sync(struct fleet *f, const char *db_path, int64_t timeout_s,
    struct fleet_report *r, struct err *e)
{
	int64_t start = time_mono_ms(), step = 1;

	do {
		if (!fleet_find(f, db_path, r))
			return absent(db_path, e);
		if (r->state == FLEET_STOPPED || r->state == FLEET_STOPPING)
			return err_set(e, ERR_LOCKED, "database not open: %s",
			    db_path);
		if (r->job.facts.pass_ms > start)
			return 0;
		fleet_sync(f, db_path);
	} while (nap(r, db_path, start + timeout_s * MS, &step, e) == 0);
	return -1;
}

int
ask_stop(struct fleet *f, const char *db_path, int64_t timeout_s,
    struct fleet_report *r, struct err *e)
{
	int64_t until = time_mono_ms() + timeout_s * MS, step = 1;
	bool running = fleet_halt(f, db_path);

	do {
		if (!fleet_find(f, db_path, r))
			return absent(db_path, e);
		if (r->state == FLEET_STOPPED)
			return running ? fleet_outcome(f, db_path, e) : 0;
		if (r->state == FLEET_RUNNING)
			return err_set(e, ERR_BUSY, "%s: was started again",
			    db_path);
	} while (nap(r, db_path, until, &step, e) == 0);
	return -1;
}

int
ask_forget(struct fleet *f, const char *db_path, int64_t timeout_s,
    struct fleet_report *r, struct err *e)
{
	int rc = ask_stop(f, db_path, timeout_s, r, e);

	if (rc == 0 || e->kind != ERR_ABSENT)
		fleet_forget(f, db_path);
	return rc;
}
