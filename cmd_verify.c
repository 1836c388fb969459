/* SPDX-License-Identifier: ISC */
/* The command that proves a replica whole: its report. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "cmd_verify.h"
#include "opt.h"
#include "receipt.h"
#include "store.h"
#include "util.h"
#include "verify.h"

static const char help[] =
"usage: litestream verify [flags] REPLICA_URL\n"
"\n"
"Reads all files of a replica and proves that every point in it can be\n"
"restored.  Writes nothing.  Exit status: 0 whole, 4 damaged, 1 could not\n"
"tell, 3 there is nothing.\n"
"\n"
"  -db PATH               compare the newest state with this database\n"
"  -full                  restore it to a temporary file in $TMPDIR without\n"
"                         a name, and have SQLite check that\n"
"  -max-age TIME          fail if the newest point is older (24h, 90m)\n"
"  -record                note time and outcome in the replica, for status\n"
"  -json                  print JSON\n";

static const char *
result_of(const struct verify_report *r)
{
	return r->damaged ? "damaged" :
	    r->unsure.kind != ERR_NONE ? "unknown" : "whole";
}

/* What one level holds. */
struct level {
	size_t files;
	uint64_t min_txid, max_txid, size;
	int64_t from_ms, to_ms;
};

static void
sum_level(const struct verify_report *r, int level, struct level *s)
{
	const struct store_file *f;
	int64_t t;
	size_t i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < r->n; i++) {
		f = &r->file[i].f;
		if (f->level != level)
			continue;
		t = f->bad ? f->mtime_ms : f->h.timestamp_ms;
		if (s->files == 0) {
			s->min_txid = f->min_txid;
			s->from_ms = s->to_ms = t;
		}
		if (f->max_txid > s->max_txid)
			s->max_txid = f->max_txid;
		if (t < s->from_ms)
			s->from_ms = t;
		if (t > s->to_ms)
			s->to_ms = t;
		s->size += f->size;
		s->files++;
	}
}

static void
print_file(const struct verify_file *v)
{
	const struct store_file *f = &v->f;
	char when[TEXT_SIZE];

	printf("%-5d  %s-%s.ltx  %-10" PRIu64 "  %s  %s\n", f->level,
	    TXID(f->min_txid), TXID(f->max_txid), f->size,
	    time_text(when, f->bad ? f->mtime_ms : f->h.timestamp_ms, false),
	    v->why == NULL ? "ok" : v->why);
}

static void
print_levels(const struct verify_report *r)
{
	char from[TEXT_SIZE], to[TEXT_SIZE];
	struct level s;
	int i;

	puts("\nlevel  files   min_txid          max_txid          size        "
	    "from                  to");
	for (i = 0; i < STORE_LEVELS; i++) {
		sum_level(r, i, &s);
		if (s.files > 0)
			printf("%-5d  %-6zu  %s  %s  %-10" PRIu64 "  %s  %s\n",
			    i, s.files, TXID(s.min_txid), TXID(s.max_txid),
			    s.size, time_text(from, s.from_ms, false),
			    time_text(to, s.to_ms, false));
	}
	putchar('\n');
}

static size_t
restorable(const struct verify_report *r)
{
	size_t i, n = 0;

	for (i = 0; i < r->points; i++)
		n += r->point[i].restorable;
	return n;
}

static void
print_findings(const struct verify_report *r)
{
	const struct verify_gap *g;
	size_t i;

	for (i = 0; i < r->gaps; i++) {
		g = &r->gap[i];
		printf("gap: level %d lacks TXIDs %s to %s%s\n", g->level,
		    TXID(g->min_txid), TXID(g->max_txid),
		    g->closed ? "; a full image follows" : "");
	}
	for (i = 0; i < r->notes; i++)
		printf("note: %s\n", r->note[i]);
	for (i = 0; i < r->problems; i++)
		printf("damage: %s\n", r->problem[i]);
	printf("links: %zu proven, %zu unknown\nrestore points: %zu\n",
	    r->links, r->unknown_links, restorable(r));
	if (r->checked)
		puts("integrity check: ok");
	if (r->same_as_db)
		printf("database: the same at TXID %s\n", TXID(r->db_txid));
}

static void
print_text(const struct verify_report *r)
{
	char print[CMD_FINGERPRINT_SIZE], when[TEXT_SIZE];
	size_t i;

	puts("level  file                                   size        "
	    "timestamp             state");
	for (i = 0; i < r->n; i++)
		print_file(&r->file[i]);
	print_levels(r);
	print_findings(r);
	printf("%s", result_of(r));
	if (r->txid != 0) {
		cmd_fingerprint(print, r->salt, r->fingerprint);
		printf(": txid=%s time=%s pages=%" PRIu32 " fingerprint=%s",
		    TXID(r->txid), time_text(when, r->timestamp_ms, true),
		    r->commit, *print != '\0' ? print : "unknown");
	}
	putchar('\n');
}

static void
print_json_file(const struct verify_file *v, bool last)
{
	const struct store_file *f = &v->f;
	char when[TEXT_SIZE];

	printf("    {\n      \"level\": %d,\n      \"name\": \"%s-%s.ltx\",\n"
	    "      \"min_txid\": \"%s\",\n      \"max_txid\": \"%s\",\n"
	    "      \"size\": %" PRIu64 ",\n      \"timestamp\": \"%s\",\n"
	    "      \"state\": \"%s\"", f->level, TXID(f->min_txid),
	    TXID(f->max_txid), TXID(f->min_txid), TXID(f->max_txid), f->size,
	    time_text(when, f->bad ? f->mtime_ms : f->h.timestamp_ms, false),
	    v->why == NULL ? "ok" : "damaged");
	if (v->why != NULL) {
		printf(",\n      \"error\": ");
		json_string(stdout, v->why);
	}
	printf("\n    }%s\n", last ? "" : ",");
}

static void
print_json_levels(const struct verify_report *r)
{
	char from[TEXT_SIZE], to[TEXT_SIZE];
	const char *sep = "\n";
	struct level s;
	int i;

	printf("  \"levels\": [");
	for (i = 0; i < STORE_LEVELS; i++) {
		sum_level(r, i, &s);
		if (s.files == 0)
			continue;
		printf("%s    {\n      \"level\": %d,\n      \"files\": %zu,\n"
		    "      \"min_txid\": \"%s\",\n      \"max_txid\": \"%s\",\n"
		    "      \"size\": %" PRIu64 ",\n      \"from\": \"%s\",\n"
		    "      \"to\": \"%s\"\n    }", sep, i, s.files,
		    TXID(s.min_txid), TXID(s.max_txid), s.size,
		    time_text(from, s.from_ms, false),
		    time_text(to, s.to_ms, false));
		sep = ",\n";
	}
	puts("\n  ],");
}

static void
print_json_gaps(const struct verify_report *r)
{
	const struct verify_gap *g;
	size_t i;

	printf("  \"gaps\": [");
	for (i = 0; i < r->gaps; i++) {
		g = &r->gap[i];
		printf("%s\n    {\n      \"level\": %d,\n      \"min_txid\": "
		    "\"%s\",\n      \"max_txid\": \"%s\",\n      \"closed\": "
		    "%s\n    }", i > 0 ? "," : "", g->level,
		    TXID(g->min_txid), TXID(g->max_txid),
		    g->closed ? "true" : "false");
	}
	puts(r->gaps > 0 ? "\n  ]," : "],");
}

static void
print_json_lines(const char *key, char **line, size_t n)
{
	size_t i;

	printf("  \"%s\": [", key);
	for (i = 0; i < n; i++) {
		printf("%s\n    ", i > 0 ? "," : "");
		json_string(stdout, line[i]);
	}
	puts(n > 0 ? "\n  ]," : "],");
}

static void
print_json(const struct verify_report *r)
{
	char print[CMD_FINGERPRINT_SIZE], when[TEXT_SIZE];
	size_t i;

	printf("{\n  \"result\": \"%s\",\n  \"files\": [\n", result_of(r));
	for (i = 0; i < r->n; i++)
		print_json_file(&r->file[i], i + 1 == r->n);
	puts("  ],");
	print_json_levels(r);
	print_json_gaps(r);
	print_json_lines("damage", r->problem, r->problems);
	print_json_lines("notes", r->note, r->notes);
	printf("  \"links\": %zu,\n  \"unknown_links\": %zu,\n"
	    "  \"restore_points\": %zu,\n  \"integrity_check\": %s,\n"
	    "  \"same_as_db\": %s,\n", r->links, r->unknown_links,
	    restorable(r), r->checked ? "true" : "false",
	    r->same_as_db ? "true" : "false");
	cmd_fingerprint(print, r->salt, r->fingerprint);
	printf("  \"txid\": \"%s\",\n  \"timestamp\": \"%s\",\n  \"pages\": %"
	    PRIu32 ",\n  \"fingerprint\": \"%s\",\n  \"error\": ",
	    r->txid != 0 ? TXID(r->txid) : "",
	    r->txid != 0 ? time_text(when, r->timestamp_ms, true) : "",
	    r->commit, print);
	json_string(stdout, r->unsure.kind != ERR_NONE ? r->unsure.text : "");
	puts("\n}");
}

/* What is wrong, in one line on standard error; the exit status. */
static int
conclude(const struct verify_report *r, const char *root)
{
	size_t i, bad = 0, gaps = 0;
	struct err e;

	if (!r->damaged && r->unsure.kind == ERR_NONE)
		return CMD_OK;
	if (!r->damaged)
		return cmd_fail(&r->unsure);
	for (i = 0; i < r->n; i++)
		bad += r->file[i].why != NULL;
	for (i = 0; i < r->gaps; i++)
		gaps += !r->gap[i].closed;
	err_set(&e, ERR_DAMAGED, "%s: damaged: %zu of %zu files, %zu gaps, "
	    "%zu other findings", root, bad, r->n, gaps, r->problems);
	return cmd_fail(&e);
}

static int
record(const struct verify_report *r, const char *root)
{
	struct receipt n = { .time_ms = time_wall_ms(), .txid = r->txid,
	    .outcome = r->damaged ? RECEIPT_DAMAGED :
	    r->unsure.kind != ERR_NONE ? RECEIPT_UNKNOWN : RECEIPT_WHOLE };
	struct err e;

	return receipt_write(root, &n, &e) == 0 ? CMD_OK : cmd_fail(&e);
}

static int
verify(const char *url, struct verify_args *a, bool json, bool note)
{
	char *root, *db = a->db != NULL ? path_abs(a->db) : NULL;
	struct verify_report r;
	struct err e;
	int status;

	root = store_url_path(url, &e);
	a->root = root;
	a->db = db;
	if (root == NULL || verify_run(a, &r, &e) != 0)
		status = cmd_fail(&e);
	else {
		if (json)
			print_json(&r);
		else
			print_text(&r);
		status = conclude(&r, root);
		if (note && record(&r, root) != CMD_OK && status == CMD_OK)
			status = CMD_FAILED;
		verify_free(&r);
	}
	free(root);
	free(db);
	return status;
}

int
cmd_verify(int argc, char **argv)
{
	struct verify_args a = { .max_age_ms = -1, .progress = true };
	bool json = false, note = false;
	const struct opt opts[] = {
		{ "db", OPT_STRING, &a.db },
		{ "full", OPT_BOOL, &a.full },
		{ "max-age", OPT_DURATION, &a.max_age_ms },
		{ "json", OPT_BOOL, &json },
		{ "record", OPT_BOOL, &note },
		{ NULL, OPT_BOOL, NULL }
	};
	struct err e;
	int at;

	at = opt_parse(opts, argc, argv, &e);
	if (at == OPT_HELP) {
		fputs(help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	if (at == OPT_BAD) {
		err_hint(&e, "litestream verify -h");
		return cmd_fail(&e);
	}
	if (argc - at != 1)
		return cmd_usage("litestream verify file:///path/to/replica",
		    argc == at ? "replica URL required" :
		    "too many arguments");
	log_to_stderr();
	return cmd_check_stdout(verify(argv[at], &a, json, note));
}
