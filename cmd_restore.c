/* SPDX-License-Identifier: ISC */
/* The commands that read a replica: restore and ltx. */
#include <sys/stat.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "cmd_restore.h"
#include "follow.h"
#include "operand.h"
#include "opt.h"
#include "points.h"
#include "restore.h"
#include "store.h"
#include "util.h"
#include "v3.h"

#define DEFAULT_CONFIG "/etc/litestream.yml"
#define DEFAULT_PARALLELISM 8
#define DEFAULT_FOLLOW_MS 1000
#define ALL_LEVELS (-1)
#define GAP 2			/* spaces between columns */
#define NAME_SIZE 38		/* MIN-MAX.ltx and its end */

static const char restore_help[] =
"usage: litestream restore [flags] -o DB_PATH REPLICA_URL\n"
"       litestream restore [flags] DB_PATH\n"
"\n"
"Writes a database from a replica, and leaves nothing if that fails.\n"
"\n"
"  -o PATH                write the database there\n"
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

static const char ltx_help[] =
"usage: litestream ltx [flags] REPLICA_URL\n"
"       litestream ltx [flags] DB_PATH\n"
"\n"
"Lists the files of a replica, or what can be restored from it.\n"
"\n"
"  -points                the restore points that have a plan\n"
"  -level LEVEL           0 to 9, or \"all\" (default 0)\n"
"  -json                  print JSON\n"
"  -config PATH           configuration file\n"
"  -no-expand-env         leave $NAME in it alone\n";

struct restore_flags {
	const char *out, *timestamp, *check, *config;
	uint64_t txid;
	int parallelism;
	int64_t follow_ms;
	bool if_db_absent, if_replica, dry_run, force, json, follow, no_expand;
};

static void
print_padded(const char *s, size_t width)
{
	printf("%-*s", (int)(width + GAP), s);
}

static int64_t
file_time(const struct store_file *f)
{
	return f->bad ? f->mtime_ms : f->h.timestamp_ms;
}

/* Width of a column of sizes under its title. */
static size_t
size_width(const struct store_list *l, const size_t *pick, size_t n)
{
	char text[TEXT_SIZE];
	size_t i, w = strlen("size"), k;

	for (i = 0; i < n; i++) {
		k = strlen(text_i64(text,
		    (int64_t)l->file[pick != NULL ? pick[i] : i].size));
		w = k > w ? k : w;
	}
	return w;
}

static void
file_name(char name[NAME_SIZE], const struct store_file *f)
{
	snprintf(name, NAME_SIZE, "%016" PRIx64 "-%016" PRIx64 ".ltx",
	    f->min_txid, f->max_txid);
}

/* Both tables: the plan's (with pick, and names) and the list's. */
static void
print_table(const struct store_list *l, const size_t *pick, size_t n)
{
	char name[NAME_SIZE], when[TEXT_SIZE];
	const struct store_file *f;
	size_t i, w = size_width(l, pick, n), w_txid = 0;

	w_txid = n > 0 ? strlen(TXID(0)) : strlen("min_txid");
	printf("level  ");
	if (pick != NULL)
		print_padded("file", NAME_SIZE - 1);
	print_padded("min_txid", w_txid);
	print_padded("max_txid", w_txid);
	print_padded("size", w);
	puts(pick != NULL ? "timestamp" : "created");
	for (i = 0; i < n; i++) {
		f = &l->file[pick != NULL ? pick[i] : i];
		file_name(name, f);
		printf("%-7d", f->level);
		if (pick != NULL)
			print_padded(name, NAME_SIZE - 1);
		print_padded(TXID(f->min_txid), w_txid);
		print_padded(TXID(f->max_txid), w_txid);
		print_padded(I64(f->size), w);
		puts(time_text(when, file_time(f), false));
	}
}

/* One file as JSON; name only in plans. */
static void
print_json_file(const struct store_file *f, const char *indent,
    bool with_name)
{
	char name[NAME_SIZE], when[TEXT_SIZE];

	printf("%s{\n%s  \"level\": %d,\n", indent, indent, f->level);
	file_name(name, f);
	if (with_name)
		printf("%s  \"name\": \"%s\",\n", indent, name);
	printf("%s  \"min_txid\": \"%s\",\n%s  \"max_txid\": \"%s\",\n", indent,
	    TXID(f->min_txid), indent, TXID(f->max_txid));
	printf("%s  \"size\": %" PRIu64 ",\n%s  \"timestamp\": \"%s\"\n%s}",
	    indent, f->size, indent, time_text(when, file_time(f), false),
	    indent);
}

static void
print_json_pair(const char *key, const char *value)
{
	printf("  \"%s\": ", key);
	json_string(stdout, value);
	puts(",");
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
		print_json_file(&l->file[p->file[i]], "    ", true);
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
	print_table(l, p->file, p->n);
}

static int
dry_run(const struct restore_args *a, const struct restore_flags *f,
    const char *source, struct err *e)
{
	struct store_list l;
	struct plan p;

	if (restore_plan(a, &l, &p, e) != 0)
		return -1;
	if (f->json)
		print_plan_json(&l, &p, source, a->out);
	else
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

static int
restore(const struct restore_args *a, const struct restore_flags *f,
    const char *source)
{
	struct restore_result res;
	struct stat st;
	struct err e;
	int64_t start = time_mono_ms();
	int rc;

	if (f->if_db_absent && stat(a->out, &st) == 0) {
		log_line(LOG_INFO, "database already exists, skipping", NULL);
		return CMD_OK;
	}
	rc = f->dry_run ? dry_run(a, f, source, &e) :
	    f->follow ? follow_run(a, f->follow_ms, &res, &e) :
	    restore_run(a, &res, &e);
	if (rc != 0 && e.kind == ERR_ABSENT && f->if_replica &&
	    nothing_there(a->root)) {
		log_line(LOG_INFO, "no matching backups found", NULL);
		return CMD_OK;
	}
	if (rc != 0)
		return cmd_fail(&e);
	if (f->json && !f->dry_run)
		print_result(a, &res, f->check, time_mono_ms() - start);
	return CMD_OK;
}

/* Operand and paths; then the work. */
static int
restore_operand(const struct restore_flags *f, struct restore_args *a,
    int argc, char **argv)
{
	struct err e;
	char *root, *out, *db;
	int rc;

	if (argc == 0)
		return cmd_usage("litestream restore -o /path/to/db "
		    "file:///path/to/replica",
		    "database path or replica URL required");
	if (argc > 1)
		return cmd_usage("litestream restore -h; flags stand before "
		    "the operand", "too many arguments");
	if (check_flags(f, a, &e) != 0)
		return cmd_fail(&e);
	root = operand_root(argv[0], f->config, !f->no_expand, &db, &e);
	if (root == NULL)
		return cmd_fail(&e);
	if (*f->out == '\0' && db == NULL) {
		err_set(&e, ERR_USAGE,
		    "-o is required when restoring from a replica URL");
		err_hint(&e, "litestream restore -o /path/to/db %s", argv[0]);
		free(root);
		return cmd_fail(&e);
	}
	out = *f->out != '\0' ? operand_db(f->out) : xstrdup(db);
	a->root = root;
	a->out = out;
	rc = restore(a, f, argv[0]);
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
		fputs(restore_help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	log_to_stderr();
	return cmd_check_stdout(restore_operand(&f, &a, argc - at, argv + at));
}

/* 0..9 or ALL_LEVELS. */
static int
parse_level(const char *s, int *level, struct err *e)
{
	char *end;
	long n;

	*level = ALL_LEVELS;
	if (strcmp(s, "all") == 0)
		return 0;
	n = strtol(s, &end, 10);
	if (*s == '\0' || *end != '\0')
		return err_set(e, ERR_USAGE, "invalid value \"%s\" for flag "
		    "-level: invalid level: must be 0-9 or \"all\"", s);
	if (n < 0 || n >= STORE_LEVELS)
		return err_set(e, ERR_USAGE, "invalid value \"%s\" for flag "
		    "-level: level must be between 0 and 9", s);
	*level = (int)n;
	return 0;
}

static void
print_list_json(const struct store_list *l)
{
	size_t i;

	if (l->n == 0) {
		puts("[]");
		return;
	}
	puts("[");
	for (i = 0; i < l->n; i++) {
		print_json_file(&l->file[i], "  ", false);
		puts(i + 1 < l->n ? "," : "");
	}
	puts("]");
}

/* One restore point as JSON. */
static void
print_json_point(const struct point *p)
{
	char when[TEXT_SIZE];
	const char *sep = "";
	int i;

	printf("  {\n    \"txid\": \"%s\",\n    \"timestamp\": \"%s\",\n"
	    "    \"by_time\": %s,\n    \"levels\": [", TXID(p->txid),
	    time_text(when, p->timestamp_ms, true),
	    p->by_time ? "true" : "false");
	for (i = 0; i < STORE_LEVELS; i++) {
		if ((p->levels & 1u << i) == 0)
			continue;
		printf("%s%d", sep, i);
		sep = ", ";
	}
	printf("]\n  }");
}

static void
print_point(const struct point *p)
{
	char when[TEXT_SIZE];
	int i;

	print_padded(TXID(p->txid), strlen(TXID(0)));
	printf("%s  ", time_text(when, p->timestamp_ms, true));
	for (i = 0; i < STORE_LEVELS; i++)
		if ((p->levels & 1u << i) != 0)
			printf("%d", i);
	puts(p->by_time ? "" : "  only by -txid: the clock was set");
}

/* What can be restored, and how much of what is there cannot. */
static void
print_points(const struct store_list *l, bool json)
{
	size_t i, n, lost = 0, shown = 0;
	struct point *p;

	points_make(l, &p, &n);
	if (json)
		fputs("[", stdout);
	else
		puts("txid              timestamp                 levels");
	for (i = 0; i < n; i++) {
		if (!p[i].restorable) {
			lost++;
			continue;
		}
		if (json) {
			puts(shown++ > 0 ? "," : "");
			print_json_point(&p[i]);
		} else
			print_point(&p[i]);
	}
	if (json)
		puts(shown > 0 ? "\n]" : "]");
	if (lost > 0)
		log_line(LOG_WARN, "files without a chain that leads to them",
		    "points", I64(lost), NULL);
	free(p);
}

static int
list_replica(const char *root, int level, bool points, bool json,
    struct err *e)
{
	struct store_list l;
	int rc;

	rc = store_list(root, points ? ALL_LEVELS : level, &l, e);
	if (rc != 0)
		return -1;
	if (points)
		print_points(&l, json);
	else if (json)
		print_list_json(&l);
	else
		print_table(&l, NULL, l.n);
	store_list_free(&l);
	return 0;
}

int
cmd_ltx(int argc, char **argv)
{
	const char *config = NULL, *level_text = "0";
	bool json = false, no_expand = false, points = false;
	const struct opt opts[] = {
		{ "level", OPT_STRING, &level_text },
		{ "points", OPT_BOOL, &points },
		{ "json", OPT_BOOL, &json },
		{ "config", OPT_STRING, &config },
		{ "no-expand-env", OPT_BOOL, &no_expand },
		{ NULL, OPT_BOOL, NULL }
	};
	char *root, *db;
	struct err e;
	int at, rc, level;

	at = opt_parse(opts, argc, argv, &e);
	if (at == OPT_HELP) {
		fputs(ltx_help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	if (at == OPT_BAD || parse_level(level_text, &level, &e) != 0) {
		err_hint(&e, "litestream ltx -h");
		return cmd_fail(&e);
	}
	log_to_stderr();
	if (argc == at)
		return cmd_usage("litestream ltx file:///path/to/replica",
		    "database path or replica URL required");
	if (argc - at > 1)
		return cmd_usage("litestream ltx -h; flags stand before the "
		    "operand", "too many arguments");
	root = operand_root(argv[at], config, !no_expand, &db, &e);
	rc = root != NULL ? list_replica(root, level, points, json, &e) : -1;
	free(db);
	free(root);
	return rc == 0 ? cmd_check_stdout(CMD_OK) : cmd_fail(&e);
}
