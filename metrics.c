/* SPDX-License-Identifier: ISC */
/*
 * Metrics: upstream's, by their names and labels, and below them ours.  All
 * comes from memory, so that an answer never waits for a disk.
 */
#include <string.h>

#include "metrics.h"

#define MS 1000.0
#define PASSIVE "mode=\"PASSIVE\""
#define TRUNCATE "mode=\"TRUNCATE\""
#define FILE_PUT "replica_type=\"file\",operation=\"PUT\""
#define FILE_DELETE "replica_type=\"file\",operation=\"DELETE\""
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* What is not a counter of a job; LEVELS + n: its counter n of levels. */
enum { TXID_NOW = STATE_COUNTERS, LAG, WELL, PASSED, REPLICA_TIME, AUDITED,
	DIFFERED, PUTS, PUT_BYTES, LEVELS };

/* The rows of one name stand together. */
static const struct metric {
	const char *name, *type, *label;	/* label: one more, or NULL */
	int what;		/* a state_counter, or of the above */
	bool ms;		/* shown in seconds */
	const char *help;
} metrics[] = {
	{ "db_size", "gauge", NULL, STATE_DB_SIZE, false,
	    "The current size of the real DB" },
	{ "wal_size", "gauge", NULL, STATE_WAL_SIZE, false,
	    "The current size of the real WAL" },
	{ "total_wal_bytes", "counter", NULL, STATE_WAL_BYTES, false,
	    "Total number of bytes read from the WAL" },
	{ "txid", "gauge", NULL, TXID_NOW, false,
	    "The current transaction ID" },
	{ "sync_count", "counter", NULL, STATE_SYNCS, false,
	    "Number of sync operations performed" },
	{ "sync_error_count", "counter", NULL, STATE_SYNC_ERRORS, false,
	    "Number of sync errors that have occurred" },
	{ "sync_seconds", "counter", NULL, STATE_SYNC_MS, true,
	    "Time spent syncing, in seconds" },
	{ "disk_full", "gauge", NULL, STATE_DISK_FULL, false,
	    "Whether replication is held up by a full disk" },
	{ "checkpoint_count", "counter", PASSIVE, STATE_PASSIVES, false,
	    "Number of checkpoint operations performed" },
	{ "checkpoint_count", "counter", TRUNCATE, STATE_TRUNCATES, false,
	    NULL },
	{ "checkpoint_error_count", "counter", PASSIVE,
	    STATE_PASSIVE_ERRORS, false,
	    "Number of checkpoint errors that have occurred" },
	{ "checkpoint_error_count", "counter", TRUNCATE,
	    STATE_TRUNCATE_ERRORS, false, NULL },
	{ "checkpoint_seconds", "counter", PASSIVE, STATE_PASSIVE_MS, true,
	    "Time spent checkpointing WAL, in seconds" },
	{ "checkpoint_seconds", "counter", TRUNCATE, STATE_TRUNCATE_MS,
	    true, NULL },
	{ "compaction_verify_error_count", "counter", NULL,
	    LEVELS + PASS_DAMAGED, false,
	    "Files that were found damaged when levels were merged" },
	{ "l0_retention_files_total", "gauge", "status=\"eligible\"",
	    LEVELS + PASS_ELIGIBLE, false,
	    "Number of L0 files by status during retention enforcement" },
	{ "l0_retention_files_total", "gauge", "status=\"not_compacted\"",
	    LEVELS + PASS_NOT_COMPACTED, false, NULL },
	{ "l0_retention_files_total", "gauge", "status=\"too_recent\"",
	    LEVELS + PASS_TOO_RECENT, false, NULL },
	{ "replica_operation_total", "counter", FILE_PUT, PUTS, false,
	    "The number of replica operations performed" },
	{ "replica_operation_total", "counter", FILE_DELETE,
	    LEVELS + PASS_DELETED, false, NULL },
	{ "replica_operation_bytes", "counter", FILE_PUT, PUT_BYTES, false,
	    "The number of bytes used by replica operations" },
	{ "lag_seconds", "gauge", NULL, LAG, true,
	    "How far the replica may be behind the database" },
	{ "ok", "gauge", NULL, WELL, false,
	    "Whether the last pass succeeded" },
	{ "sync_time_seconds", "gauge", NULL, PASSED, true,
	    "When the last pass that succeeded began, since 1970" },
	{ "replica_time_seconds", "gauge", NULL, REPLICA_TIME, true,
	    "When the newest state in the replica was written, since 1970" },
	{ "audit_time_seconds", "gauge", NULL, AUDITED, true,
	    "When all pages had been compared with the replica, since 1970; "
	    "0: not yet" },
	{ "audit_differed_total", "counter", NULL, DIFFERED, false,
	    "Pages that such comparisons found different" },
};

/*
 * While it rests after a success there is nothing that it does not have, but
 * what came in the moments for which passes are spaced.
 */
static int64_t
lag_ms(const struct job_report *r, int64_t now)
{
	const struct state_facts *f = &r->facts;
	int64_t since = f->pass_ms;

	if (f->word == STATE_OK && r->busy_ms == 0)
		return 0;
	if (f->word == STATE_OK && r->busy_ms > since)
		since = r->busy_ms;
	if (since == 0)
		return time_wall_ms() - f->started_ms;
	return now - since;
}

static double
value(const struct job_report *r, int what)
{
	const struct state_facts *f = &r->facts;
	int64_t now = time_mono_ms();

	switch (what) {
	case TXID_NOW:
		return (double)f->txid;
	case LAG:
		return (double)lag_ms(r, now);
	case WELL:
		return f->word == STATE_OK;
	case PASSED:
		return f->pass_ms == 0 ? 0 :
		    (double)(time_wall_ms() - now + f->pass_ms);
	case REPLICA_TIME:
		return (double)f->txid_ms;
	case AUDITED:
		return (double)f->audit_ms;
	case DIFFERED:
		return (double)f->differed;
	case PUTS:
		return (double)(r->count[STATE_FILES] +
		    r->levels[PASS_FILES]);
	case PUT_BYTES:
		return (double)(r->count[STATE_BYTES] +
		    r->levels[PASS_BYTES]);
	default:
		return (double)(what >= LEVELS ? r->levels[what - LEVELS] :
		    r->count[what]);
	}
}

/* A label's value, as the format has it: UTF-8, or nothing at all is taken. */
static void
print_label(FILE *out, const char *s)
{
	size_t n;

	for (; *s != '\0'; s += n > 0 ? n : 1) {
		n = text_printable(s);
		if (n == 0)
			fprintf(out, "\\\\x%02x", (unsigned char)*s);
		else {
			if (*s == '"' || *s == '\\')
				putc('\\', out);
			fwrite(s, 1, n, out);
		}
	}
}

void
metrics_write(FILE *out, struct fleet *f)
{
	const struct metric *m;
	struct fleet_report *l;
	size_t i, n;

	l = fleet_list(f, &n);
	for (m = metrics; m < metrics + COUNT(metrics); m++) {
		if (m->help != NULL)
			fprintf(out, "# HELP litestream_%s %s\n"
			    "# TYPE litestream_%s %s\n", m->name, m->help,
			    m->name, m->type);
		for (i = 0; i < n; i++) {
			fprintf(out, "litestream_%s{db=\"", m->name);
			print_label(out, l[i].path);
			fprintf(out, "\"%s%s} %.15g\n",
			    m->label != NULL ? "," : "",
			    m->label != NULL ? m->label : "",
			    value(&l[i].job, m->what) / (m->ms ? MS : 1));
		}
	}
	fleet_list_free(l, n);
}
