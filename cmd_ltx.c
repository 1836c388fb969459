/* SPDX-License-Identifier: ISC */
/* litestream ltx: the files of a replica, and what can be restored from it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "cmd_ltx.h"
#include "listing.h"
#include "operand.h"
#include "opt.h"
#include "points.h"
#include "store.h"

#define ALL_LEVELS (-1)

static const char help[] =
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
		listing_json(&l->file[i], "  ", false);
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

	listing_cell(TXID(p->txid), strlen(TXID(0)));
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
		listing_table(&l, NULL, l.n);
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
		fputs(help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	if (at == OPT_BAD || parse_level(level_text, &level, &e) != 0) {
		err_hint(&e, "litestream ltx -h");
		return cmd_fail(&e);
	}
	log_to_stderr();
	if (argc == at)
		return cmd_usage("litestream ltx /path/to/db",
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
