/* SPDX-License-Identifier: ISC */
/*
 * An error is said when it changes and then every five minutes; a database that
 * is merely locked, only after some seconds.  Attempts are repeated after 1 s,
 * 2 s .. 10 s, or ten times what the last one took, up to five minutes.
 */
#include <string.h>

#include "trouble.h"

#define RETRY_MS 1000
#define RETRY_MAX_MS 10000
#define BUSY_RETRY_MS 100
#define BUSY_QUIET_MS 5000	/* busy for longer is said */
#define REPEAT_MS 300000	/* the same error again in the log */

static bool
due(const struct trouble *t, int64_t now)
{
	if (t->said)
		return now - t->said_ms >= REPEAT_MS;
	return t->e.kind != ERR_BUSY || now - t->since_ms >= BUSY_QUIET_MS;
}

int64_t
trouble_met(struct trouble *t, const char *db_path, const struct err *e,
    int64_t took_ms)
{
	int64_t now = time_mono_ms();

	if (t->e.kind == ERR_NONE)
		t->since_ms = now;
	if (t->e.kind != e->kind || strcmp(t->e.text, e->text) != 0)
		t->said = false;
	t->e = *e;
	if (due(t, now)) {
		log_line(LOG_ERROR, "replication failed, trying again",
		    "path", db_path, "error", e->text, NULL);
		t->said = true;
		t->said_ms = now;
	}
	if (e->kind == ERR_BUSY && now - t->since_ms < BUSY_QUIET_MS)
		return BUSY_RETRY_MS;
	t->retry_ms = t->retry_ms == 0 ? RETRY_MS : 2 * t->retry_ms;
	if (t->retry_ms > RETRY_MAX_MS)
		t->retry_ms = RETRY_MAX_MS;
	if (10 * took_ms <= t->retry_ms)
		return t->retry_ms;
	return 10 * took_ms < REPEAT_MS ? 10 * took_ms : REPEAT_MS;
}

void
trouble_over(struct trouble *t, const char *db_path, uint64_t txid)
{
	if (t->said)
		log_line(LOG_INFO, "replication works again", "path", db_path,
		    "txid", TXID(txid), NULL);
	memset(t, 0, sizeof *t);
}
