/* SPDX-License-Identifier: ISC */
/* litestream restore. */
#include <sys/stat.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "cmd_restore.h"
#include "config.h"
#include "follow.h"
#include "listing.h"
#include "operand.h"
#include "opt.h"
#include "restore.h"
#include "scan.h"
#include "store.h"
#include "util.h"
#include "v3.h"

#define DEFAULT_PARALLELISM 8
#define DEFAULT_FOLLOW_MS 1000

static const char help[] =
"usage: litestream restore [flags] -o DB_PATH REPLICA_URL\n"
"       litestream restore [flags] DB_PATH\n"
"       litestream restore [flags] [-o DIR] -all\n"
"\n"
"Writes a database from a replica, and leaves nothing if that fails.\n"
"\n"
"  -o PATH                write the database there; with -all: beneath this\n"
"                         directory, under their full paths\n"
"  -all                   all databases of the configuration\n"
"  -txid TXID             the state of this transaction (16 hex digits)\n"
"  -timestamp TIME        the state at this time (2026-01-02T03:04:05Z)\n"
"  -force                 replace an existing database and its sidecars\n"
"  -if-db-not-exists      exit 0 if the database exists\n"
"  -if-replica-exists     exit 0 if there is no backup\n"
"  -integrity-check MODE  none, quick or full, before the database is put\n"
"                         in place (default none)\n"
"  -dry-run               print which files would be read, and stop\n"
"  -json                  print the result as JSON\n"
"  -parallelism N         accepted, without effect\n"
"  -f                     go on applying changes\n"
"  -follow-interval TIME  how often (default 1s)\n"
"  -config PATH           configuration file\n"
"  -no-expand-env         leave $NAME in it alone\n";

struct restore_flags {
	const char *out, *timestamp, *check, *config;
	uint64_t txid;
	int parallelism;
	int64_t follow_ms;
	bool if_db_absent, if_replica, dry_run, force, json, follow, no_expand;
	bool all;
};

/* What has become of several; NULL where it is about one. */
struct tally {
	size_t n, failed;
	size_t shown;		/* as JSON */
	int status;		/* the worst */
};

static void
print_json_pair(const char *key, const char *value)
{
	printf("  \"%s\": ", key);
	json_string(stdout, value);
	puts(",");
}

/* Before an object of JSON: several are a list. */
static void
separate(struct tally *t)
{
	if (t != NULL)
		puts(t->shown++ == 0 ? "[" : ",");
}

static void
print_plan_json(const struct store_list *l, const struct plan *p,
    const char *source, const char *target)
{
	size_t i;

	puts("{");
	print_json_pair("source", source);
	print_json_pair("target_path", target);
	print_json_pair("replica", "file");
	print_json_pair("min_txid", TXID(l->file[p->file[0]].min_txid));
	print_json_pair("max_txid", TXID(p->txid));
	puts("  \"files\": [");
	for (i = 0; i < p->n; i++) {
		listing_json(&l->file[p->file[i]], "    ", true);
		puts(i + 1 < p->n ? "," : "");
	}
	puts("  ]\n}");
}

static void
print_plan(const struct store_list *l, const struct plan *p,
    const char *source, const char *target)
{
	printf("Restore plan:\n  source: %s\n  target: %s\n  replica: file\n"
	    "  txid range: %s - %s\n\nFiles to fetch:\n", source, target,
	    TXID(l->file[p->file[0]].min_txid), TXID(p->txid));
	listing_table(l, p->file, p->n);
}

static int
dry_run(const struct restore_args *a, const struct restore_flags *f,
    const char *source, struct tally *t, struct err *e)
{
	struct store_list l;
	struct plan p;

	if (restore_plan(a, &l, &p, e) != 0)
		return -1;
	if (f->json) {
		separate(t);
		print_plan_json(&l, &p, source, a->out);
	} else
		print_plan(&l, &p, source, a->out);
	plan_free(&p);
	store_list_free(&l);
	return 0;
}

static void
print_result(const struct restore_args *a, const struct restore_result *res,
    const char *check, int64_t took_ms)
{
	char fingerprint[CMD_FINGERPRINT_SIZE];

	cmd_fingerprint(fingerprint, res->salt, res->fingerprint);
	puts("{");
	print_json_pair("db_path", a->out);
	print_json_pair("replica", "file");
	print_json_pair("txid", res->txid != 0 ? TXID(res->txid) : "");
	printf("  \"duration_ms\": %" PRId64 ",\n  \"integrity_check\": "
	    "\"%s\",\n  \"fingerprint\": \"%s\"\n}\n", took_ms, check,
	    fingerprint);
}

/* Flags that cannot be, or cannot be together. */
static int
check_flags(const struct restore_flags *f, struct restore_args *a,
    struct err *e)
{
	static const char *const modes[] = { "none", "quick", "full" };
	int i;

	for (i = 0; i < 3 && strcmp(f->check, modes[i]) != 0;)
		i++;
	if (i == 3)
		return err_set(e, ERR_USAGE, "invalid -integrity-check value: "
		    "%s", f->check);
	a->check = (enum restore_check)i;
	a->has_time = *f->timestamp != '\0';
	if (a->has_time && time_parse(f->timestamp, &a->time_ms) != 0)
		return err_set(e, ERR_USAGE, "invalid -timestamp, must specify "
		    "in ISO 8601 format (e.g. 2000-01-01T00:00:00Z)");
	if (f->txid != 0 && a->has_time)
		return err_set(e, ERR_USAGE,
		    "cannot specify index & timestamp to restore");
	if (f->follow && (f->txid != 0 || a->has_time))
		return err_set(e, ERR_USAGE, "cannot use follow mode with -%s",
		    f->txid != 0 ? "txid" : "timestamp");
	if (f->all && (f->follow || f->txid != 0))
		return err_set(e, ERR_USAGE, "cannot use -all with -%s",
		    f->follow ? "f" : "txid");
	if (f->follow && f->dry_run)
		return err_set(e, ERR_USAGE, "cannot use -dry-run with -f");
	a->txid = f->txid;
	a->force = f->force;
	a->progress = true;
	return 0;
}

/* Whether the replica has no files at all. */
static bool
nothing_there(const char *root)
{
	struct v3_choice c;
	struct store_list l;
	struct err ignored;
	bool none;

	if (store_list(root, -1, &l, &ignored) != 0)
		return false;
	none = l.n == 0;
	if (none && v3_choose(root, &l, false, 0, &c, &ignored) != 0) {
		v3_free(&c);
		none = false;
	}
	store_list_free(&l);
	return none;
}

/* Of several, the database is named. */
static int
fail(const struct restore_args *a, bool json, struct tally *t,
    const struct err *e)
{
	struct err named;

	if (t == NULL)
		return cmd_fail(e);
	err_set(&named, e->kind, "%s: %s", a->out, e->text);
	if (e->hint[0] != '\0')
		err_hint(&named, "%s", e->hint);
	if (json) {
		separate(t);
		puts("{");
		print_json_pair("db_path", a->out);
		printf("  \"error\": ");
		json_string(stdout, e->text);
		puts("\n}");
	}
	return cmd_fail(&named);
}

static int
restore(const struct restore_args *a, const struct restore_flags *f,
    const char *source, struct tally *t)
{
	struct restore_result res;
	struct stat st;
	struct err e;
	int64_t start = time_mono_ms();
	int rc;

	if (f->if_db_absent && stat(a->out, &st) == 0) {
		log_line(LOG_INFO, "database already exists, skipping", t !=
		    NULL ? "path" : NULL, a->out, NULL);
		return CMD_OK;
	}
	rc = f->dry_run ? dry_run(a, f, source, t, &e) :
	    f->follow ? follow_run(a, f->follow_ms, &res, &e) :
	    restore_run(a, &res, &e);
	if (rc != 0 && e.kind == ERR_ABSENT && f->if_replica &&
	    nothing_there(a->root)) {
		log_line(LOG_INFO, "no matching backups found", t != NULL ?
		    "path" : NULL, a->out, NULL);
		return CMD_OK;
	}
	if (rc != 0)
		return fail(a, f->json, t, &e);
	if (f->dry_run)
		return CMD_OK;
	if (f->json) {
		separate(t);
		print_result(a, &res, f->check, time_mono_ms() - start);
	}
	if (t != NULL)
		log_line(LOG_INFO, "database restored", "path", a->out, "txid",
		    TXID(res.txid), NULL);
	return CMD_OK;
}

/* The worse of two exit statuses. */
static int
worse(int a, int b)
{
	static const int rank[] = {
		[CMD_OK] = 0, [CMD_ABSENT] = 1, [CMD_USAGE] = 2,
		[CMD_FOREIGN] = 3, [CMD_LOCKED] = 4, [CMD_FAILED] = 5,
		[CMD_DAMAGED] = 6
	};

	return rank[a] >= rank[b] ? a : b;
}

static void
count(struct tally *t, int status)
{
	t->n++;
	t->failed += status != CMD_OK;
	t->status = worse(t->status, status);
}

/* One of several: a is that of none yet. */
static void
restore_entry(const struct restore_flags *f, struct restore_args a,
    const struct config_db *d, struct tally *t)
{
	char *dir = *f->out != '\0' ? operand_db(f->out) : xstrdup("");
	char *out = xasprintf("%s%s", dir, d->path);

	a.root = d->root;
	a.out = out;
	count(t, restore(&a, f, d->path, t));
	free(out);
	free(dir);
}

static bool
has_entry(const struct config *c, const char *db)
{
	size_t i;

	for (i = 0; i < c->n_db; i++)
		if (c->db[i].path != NULL && strcmp(c->db[i].path, db) == 0)
			return true;
	return false;
}

/* The databases of a directory: those that have a replica. */
static void
restore_dir(const struct restore_flags *f, const struct restore_args *a,
    const struct config *c, const struct config_db *dir, struct tally *t)
{
	struct config_db *d;
	char **path;
	size_t i, n;
	struct err e;

	if (scan_replicas(dir, &path, &n, &e) != 0) {
		if (e.kind != ERR_ABSENT || !f->if_replica)
			count(t, cmd_fail(&e));
		return;
	}
	for (i = 0; i < n; i++) {
		if (has_entry(c, path[i]))
			continue;
		d = config_dir_entry(dir, path[i]);
		restore_entry(f, *a, d, t);
		config_db_free(d);
	}
	scan_free(path, n);
}

/* All of the configuration; one that fails does not keep the others. */
static int
restore_all(const struct restore_flags *f, const struct restore_args *a)
{
	struct tally t = { .status = CMD_OK };
	struct config *c;
	struct err e;
	size_t i;

	if (config_load(f->config != NULL ? f->config :
	    config_default_path(), !f->no_expand, &c, &e) != 0)
		return cmd_fail(&e);
	for (i = 0; i < c->n_db; i++)
		if (c->db[i].path != NULL)
			restore_entry(f, *a, &c->db[i], &t);
	for (i = 0; i < c->n_db; i++)
		if (c->db[i].path == NULL)
			restore_dir(f, a, c, &c->db[i], &t);
	if (f->json)
		puts(t.shown == 0 ? "[]" : "]");
	if (c->n_db == 0)
		t.status = cmd_usage(NULL, "no databases specified in "
		    "configuration");
	config_free(c);
	if (t.failed > 0) {
		err_set(&e, ERR_SYSTEM, "%s of %s databases not restored",
		    I64(t.failed), I64(t.n));
		cmd_fail(&e);
	}
	return t.status;
}

/* Operand and paths; then the work. */
static int
restore_operand(const struct restore_flags *f, struct restore_args *a,
    int argc, char **argv)
{
	struct err e;
	char *root, *out, *db;
	int rc;

	if (f->all && argc > 0)
		return cmd_usage("litestream restore -h",
		    "cannot specify a database or replica and -all");
	if (argc == 0 && !f->all)
		return cmd_usage("litestream restore -o /path/to/db "
		    "file:///path/to/replica",
		    "database path or replica URL required");
	if (argc > 1)
		return cmd_usage("litestream restore -h; flags stand before "
		    "the operand", "too many arguments");
	if (check_flags(f, a, &e) != 0)
		return cmd_fail(&e);
	if (f->all)
		return restore_all(f, a);
	if (*f->out == '\0' && operand_is_url(argv[0])) {
		err_set(&e, ERR_USAGE,
		    "-o is required when restoring from a replica URL");
		err_hint(&e, "litestream restore -o /path/to/db %s", argv[0]);
		return cmd_fail(&e);
	}
	root = operand_root(argv[0], f->config, !f->no_expand, &db, &e);
	if (root == NULL)
		return cmd_fail(&e);
	out = *f->out != '\0' ? operand_db(f->out) : xstrdup(db);
	a->root = root;
	a->out = out;
	rc = restore(a, f, argv[0], NULL);
	free(root);
	free(out);
	free(db);
	return rc;
}

int
cmd_restore(int argc, char **argv)
{
	struct restore_flags f = { .out = "", .timestamp = "",
	    .check = "none", .parallelism = DEFAULT_PARALLELISM,
	    .follow_ms = DEFAULT_FOLLOW_MS };
	const struct opt opts[] = {
		{ "o", OPT_STRING, &f.out },
		{ "all", OPT_BOOL, &f.all },
		{ "txid", OPT_TXID, &f.txid },
		{ "timestamp", OPT_STRING, &f.timestamp },
		{ "parallelism", OPT_INT, &f.parallelism },
		{ "if-db-not-exists", OPT_BOOL, &f.if_db_absent },
		{ "if-replica-exists", OPT_BOOL, &f.if_replica },
		{ "dry-run", OPT_BOOL, &f.dry_run },
		{ "force", OPT_BOOL, &f.force },
		{ "json", OPT_BOOL, &f.json },
		{ "f", OPT_BOOL, &f.follow },
		{ "follow-interval", OPT_DURATION, &f.follow_ms },
		{ "integrity-check", OPT_STRING, &f.check },
		{ "config", OPT_STRING, &f.config },
		{ "no-expand-env", OPT_BOOL, &f.no_expand },
		{ NULL, OPT_BOOL, NULL }
	};
	struct restore_args a = { 0 };
	struct err e;
	int at;

	at = opt_parse(opts, argc, argv, &e);
	if (at == OPT_BAD) {
		err_hint(&e, "litestream restore -h");
		return cmd_fail(&e);
	}
	if (at == OPT_HELP) {
		fputs(help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	log_to_stderr();
	return cmd_check_stdout(restore_operand(&f, &a, argc - at, argv + at));
}
