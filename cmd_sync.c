/* SPDX-License-Identifier: ISC */
/*
 * litestream sync: everything that was committed before the call is durable in
 * the replica when it returns 0.
 *
 * The running replicator is asked for a pass by touching its status file, and
 * says there when the newest pass that succeeded began (state.c), on the clock
 * that runs since the machine was started and is the same for all processes.
 * A pass takes what is committed when it begins, and succeeds only when that is
 * durable in the replica, its directory in place and its database the one that
 * the path leads to.  So a pass that began after us is the answer.  What is
 * compared is a clock, and no place in the WAL: whether there is a WAL, where
 * it was begun anew, and what was checkpointed meanwhile does not matter, and
 * the database is not even opened, so that no application can be delayed.
 *
 * Where the files of the replicator are not at hand (another user's, or another
 * program: upstream's), -socket asks it directly.
 *
 * The moments are whole milliseconds: one that is larger is later.  The name of
 * the boot tells a file that a former boot has left; where boots have no names,
 * only that of the process which runs is believed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client.h"
#include "cmd.h"
#include "cmd_sync.h"
#include "operand.h"
#include "opt.h"
#include "state.h"
#include "target.h"

#define TIMEOUT_MS 30000
#define STEP_MAX_MS 50
#define SECONDS_MAX INT64_C(9000000000000)	/* as for a duration */

static const char help[] =
"usage: litestream sync [flags] DB_PATH\n"
"\n"
"Returns when everything that was committed before is durable in the replica.\n"
"A replicator must be running.\n"
"\n"
"  -wait          print replica_txid; it waits without it, too\n"
"  -timeout TIME  how long: 30s, or seconds (default 30s)\n"
"  -json          print JSON\n"
"  -socket PATH   ask there, instead of by the status file\n"
"  -config PATH   configuration file, for meta-path\n"
"  -no-expand-env leave $NAME in it alone\n";

struct flags {
	const char *timeout, *config, *socket;
	bool wait, json, no_expand;
};

static bool
answered(const struct state_facts *f, const char *boot, int64_t since_ms,
    long pid)
{
	return f->pass_ms > since_ms && strcmp(f->boot, boot) == 0 &&
	    (boot[0] != '\0' || (pid != 0 && f->pid == pid));
}

static int
not_running(const char *db, const struct state_facts *f, struct err *e)
{
	err_set(e, ERR_SYSTEM, "%s: no replicator is running", db);
	err_hint(e, "litestream replicate -once %s file://%s", db,
	    f->root[0] != '\0' ? f->root : "/path/to/replica");
	return -1;
}

static int
too_late(const char *db, int64_t timeout_ms, const struct state_facts *f,
    struct err *e)
{
	char buf[TEXT_SIZE];
	bool failing = f->word == STATE_ERROR || f->word == STATE_AWAY;
	bool known = f->txid != 0;

	err_set(e, ERR_BUSY, "%s: not in the replica after %" PRId64 " ms: "
	    "the replicator is at \"%s\"%s%s%s%s%s%s",
	    db, timeout_ms, state_name(f->word),
	    known ? ", the replica at TXID " : "", known ? TXID(f->txid) : "",
	    known ? " of " : "", known ? time_text(buf, f->txid_ms, false) :
	    "", failing ? ": " : "", failing ? f->error : "");
	return -1;
}

static int
await(const char *db, const char *meta, int64_t timeout_ms,
    struct state_facts *f, struct err *e)
{
	int64_t start = time_mono_ms(), step = 1, left;
	char *path = state_path(meta), boot[BOOT_ID_SIZE];
	long pid;
	int running, rc = -1;

	boot_id(boot);
	for (;;) {
		if ((running = state_running(meta, &pid, e)) < 0 ||
		    state_read(path, f, e) < 0)
			break;
		if (answered(f, boot, start, running ? pid : 0)) {
			rc = 0;
			break;
		}
		if (!running) {
			rc = not_running(db, f, e);
			break;
		}
		if ((left = start + timeout_ms - time_mono_ms()) <= 0) {
			rc = too_late(db, timeout_ms, f, e);
			break;
		}
		if (state_ask(path, e) != 0 && e->kind != ERR_ABSENT) {
			err_hint(e, "run as the user of the database");
			break;
		}
		sleep_ms(step < left ? step : left);
		step = 2 * step < STEP_MAX_MS ? 2 * step : STEP_MAX_MS;
	}
	free(path);
	return rc;
}

/* As Litestream, what the replica has only if asked to wait for it. */
static void
print(const char *db, uint64_t txid, int64_t took_ms, const struct flags *f)
{
	if (!f->json) {
		printf("db_path: %s\ntxid: %" PRIu64 "\n", db, txid);
		if (f->wait)
			printf("replica_txid: %" PRIu64 "\n", txid);
		printf("duration_ms: %" PRId64 "\n", took_ms);
		return;
	}
	printf("{\n  \"db_path\": ");
	json_string(stdout, db);
	printf(",\n  \"txid\": %" PRIu64, txid);
	if (f->wait)
		printf(",\n  \"replica_txid\": %" PRIu64, txid);
	printf(",\n  \"duration_ms\": %" PRId64 "\n}\n", took_ms);
}

static int
sync_one(const struct flags *flags, const struct target *t, int64_t timeout_ms)
{
	char *meta = t->meta != NULL ? xstrdup(t->meta) : state_meta(t->db);
	int64_t start = time_mono_ms();
	struct state_facts f;
	struct stat st;
	struct err e;
	int rc;

	if (stat(t->db, &st) != 0)
		rc = err_set(&e, ERR_SYSTEM, "database not found: %s", t->db);
	else if (!S_ISREG(st.st_mode))
		rc = err_set(&e, ERR_SYSTEM, "%s: not a regular file", t->db);
	else
		rc = await(t->db, meta, timeout_ms, &f, &e);
	if (rc == 0)
		print(t->db, f.txid, time_mono_ms() - start, flags);
	else
		cmd_fail(&e);
	free(meta);
	return cmd_check_stdout(rc == 0 ? CMD_OK : CMD_FAILED);
}

/* By a control socket, for a replicator whose files are not at hand. */
static int
sync_by_socket(const struct flags *f, const char *given, int64_t timeout_ms)
{
	char *db = operand_db(given), *body = NULL;
	int64_t start = time_mono_ms();
	const struct node *root;
	struct node_file *file;
	struct err e;
	size_t n;
	FILE *out = open_memstream(&body, &n);
	int rc = -1;

	if (out == NULL)
		err_sys(&e, "request", "open");
	else {
		fputs("{\"path\":", out);
		json_string(out, db);
		fprintf(out, ",\"wait\":true,\"timeout\":%" PRId64 "}",
		    (timeout_ms + 999) / 1000);
		fclose(out);
		rc = client_call(f->socket, "sync", body, timeout_ms, &file,
		    &root, &e);
	}
	if (rc == 0) {
		print(client_field(root, "path"), strtoull(client_field(root,
		    "replicated_txid"), NULL, 10), time_mono_ms() - start,
		    f);
		node_free(file);
	} else
		cmd_fail(&e);
	free(body);
	free(db);
	return cmd_check_stdout(rc == 0 ? CMD_OK : CMD_FAILED);
}

/* A Go duration, or whole seconds as upstream has it. */
static int
parse_timeout(const char *s, int64_t *ms)
{
	char *end;
	long long v;

	if (s[0] == '\0')
		*ms = TIMEOUT_MS;
	else if (v = strtoll(s, &end, 10), *end == '\0' && v > -SECONDS_MAX &&
	    v < SECONDS_MAX)
		*ms = (int64_t)v * 1000;
	else if (duration_parse(s, ms) != 0)
		return -1;
	return 0;
}

int
cmd_sync(int argc, char **argv)
{
	struct flags f = { .timeout = "", .config = "", .socket = "" };
	const struct opt opts[] = {
		{ "wait", OPT_BOOL, &f.wait },
		{ "timeout", OPT_STRING, &f.timeout },
		{ "json", OPT_BOOL, &f.json },
		{ "socket", OPT_STRING, &f.socket },
		{ "config", OPT_STRING, &f.config },
		{ "no-expand-env", OPT_BOOL, &f.no_expand },
		{ NULL, OPT_BOOL, NULL }
	};
	int at, rc;
	struct targets l;
	int64_t timeout_ms;
	struct err e;

	at = opt_parse(opts, argc, argv, &e);
	if (at == OPT_HELP) {
		fputs(help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	if (at == OPT_BAD) {
		err_hint(&e, "litestream sync -h");
		return cmd_fail(&e);
	}
	if (argc - at != 1)
		return cmd_usage("litestream sync /path/to/db", argc == at ?
		    "database path required" : "too many arguments");
	if (parse_timeout(f.timeout, &timeout_ms) != 0)
		return cmd_usage("litestream sync -h", "invalid value \"%s\" "
		    "for flag -timeout: not a duration", f.timeout);
	if (timeout_ms <= 0)
		return cmd_usage(NULL, "timeout must be greater than 0");
	if (f.socket[0] != '\0')
		return sync_by_socket(&f, argv[at], timeout_ms);
	if (target_load(&l, 1, argv + at, f.config, !f.no_expand, &e) != 0)
		return cmd_fail(&e);
	rc = sync_one(&f, &l.t[0], timeout_ms);
	target_free(&l);
	return rc;
}
