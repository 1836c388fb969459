/* SPDX-License-Identifier: ISC */
/* The command that shows the configuration: databases. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "cmd_config.h"
#include "config.h"
#include "opt.h"
#include "scan.h"

#define GAP 2			/* spaces between columns */

static const char help[] =
"usage: litestream databases [flags]\n"
"\n"
"Lists the databases of the configuration, those of its directories, too.\n"
"\n"
"  -json          print JSON\n"
"  -config PATH   configuration file\n"
"  -no-expand-env leave $NAME in it alone\n";

struct paths {
	char **path;
	size_t n, cap;
};

static void
push(struct paths *p, char *path)
{
	p->path = xgrow(p->path, p->n, &p->cap, sizeof(*p->path));
	p->path[p->n++] = path;
}

/* A directory's databases, but for those that have an entry already. */
static int
push_dir(struct paths *p, const struct config_db *d, struct err *e)
{
	char **found;
	size_t i, n;

	if (scan_dir(d, (const char *const *)p->path, p->n, NULL,
	    &found, &n, e) != 0)
		return -1;
	for (i = 0; i < n; i++)
		push(p, found[i]);
	free(found);
	return 0;
}

static int
collect(const struct config *c, struct paths *p, struct err *e)
{
	size_t i;

	for (i = 0; i < c->n_db; i++)
		if (c->db[i].path != NULL)
			push(p, xstrdup(c->db[i].path));
	for (i = 0; i < c->n_db; i++)
		if (c->db[i].path == NULL &&
		    push_dir(p, &c->db[i], e) != 0)
			return -1;
	return 0;
}

static void
print_json(const struct paths *p)
{
	size_t i;

	for (i = 0; i < p->n; i++) {
		printf("%s\n  {\n    \"path\": ", i == 0 ? "[" : ",");
		json_string(stdout, p->path[i]);
		printf(",\n    \"replica\": \"file\"\n  }");
	}
	puts(p->n == 0 ? "[]" : "\n]");
}

static void
print_table(const struct paths *p)
{
	size_t i, k, w = strlen("path");

	for (i = 0; i < p->n; i++) {
		k = strlen(p->path[i]);
		w = k > w ? k : w;
	}
	printf("%-*sreplica\n", (int)(w + GAP), "path");
	for (i = 0; i < p->n; i++)
		printf("%-*sfile\n", (int)(w + GAP), p->path[i]);
}

static int
list(const char *config, bool expand_env, bool json)
{
	struct paths p = { .path = NULL };
	struct config *c;
	struct err e;
	int rc = CMD_OK;

	if (config_load(config, expand_env, &c, &e) != 0)
		return cmd_fail(&e);
	if (collect(c, &p, &e) != 0)
		rc = cmd_fail(&e);
	else if (json)
		print_json(&p);
	else
		print_table(&p);
	scan_free(p.path, p.n);
	config_free(c);
	return cmd_check_stdout(rc);
}

int
cmd_databases(int argc, char **argv)
{
	const char *config = config_default_path();
	bool json = false, no_expand = false;
	const struct opt opts[] = {
		{ "config", OPT_STRING, &config },
		{ "json", OPT_BOOL, &json },
		{ "no-expand-env", OPT_BOOL, &no_expand },
		{ NULL, OPT_BOOL, NULL }
	};
	struct err e;
	int at = opt_parse(opts, argc, argv, &e);

	if (at == OPT_BAD) {
		err_hint(&e, "litestream databases -h");
		return cmd_fail(&e);
	}
	if (at == OPT_HELP) {
		fputs(help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	if (at < argc)
		return cmd_usage("litestream databases -h",
		    "too many arguments");
	return list(config[0] != '\0' ? config : config_default_path(),
	    !no_expand, json);
}
