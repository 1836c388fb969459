/* SPDX-License-Identifier: ISC */
/* litestream check: the effective configuration, and whether it would work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "cmd_check.h"
#include "config.h"
#include "keys.h"
#include "opt.h"
#include "probe.h"
#include "setup.h"

#define INDENT 4		/* of an entry of a list */

static const char help[] =
"usage: litestream check [flags]\n"
"       litestream check DB_PATH REPLICA_URL\n"
"\n"
"Prints the configuration as it takes effect, with all defaults, and tries\n"
"whether replication would work, as comments behind it.  Changes nothing.\n"
"Status 0 only if all would work.\n"
"\n"
"  -config PATH   configuration file\n"
"  -no-expand-env leave $NAME in it alone\n";

static void
print_db(const struct config_db *d)
{
	char buf[TEXT_SIZE];

	printf("  -\n");
	keys_print(stdout, KEYS_DB, d, INDENT);
	printf("%*sreplica:\n%*stype: file\n%*spath: ", INDENT, "",
	    INDENT + 2, "", INDENT + 2, "");
	json_string(stdout, d->root);
	if (d->sync.interval_ms > 0)
		printf("\n%*ssync-interval: %s", INDENT + 2, "",
		    keys_duration(buf, d->sync.interval_ms));
	printf("\n");
}

static void
print_config(const struct config *c)
{
	char buf[TEXT_SIZE];
	size_t i;

	printf("# ");
	json_string(stdout, c->path);
	printf("\n");
	keys_print(stdout, KEYS_TOP, c, 0);
	printf("levels:\n");
	for (i = 0; i < c->levels; i++)
		printf("  - interval: %s\n", keys_duration(buf,
		    c->level_ms[i]));
	printf("dbs:%s\n", c->n_db == 0 ? " []" : "");
	for (i = 0; i < c->n_db; i++)
		print_db(&c->db[i]);
}

static int
print_findings(const struct probe *p)
{
	static const char *const name[] = {
		[PROBE_OK] = "ok  ", [PROBE_WARNING] = "warn",
		[PROBE_FAILURE] = "FAIL",
	};
	size_t i;

	for (i = 0; i < p->n; i++) {
		printf("# %s  %s\n", name[p->line[i].result],
		    p->line[i].text);
		if (p->line[i].hint != NULL)
			printf("#       Try: %s\n", p->line[i].hint);
	}
	return cmd_check_stdout(p->failed ? CMD_FAILED : CMD_OK);
}

static int
check(const struct setup *s)
{
	struct probe p = { .line = NULL };
	struct err e;
	size_t i;
	int rc;

	if (s->config != NULL) {
		if (setup_refuse_twins(s, &e) != 0)
			return cmd_fail(&e);
		config_warn(s->config);
		print_config(s->config);
	}
	probe_host(&p);
	if (s->n == 0) {
		err_set(&e, ERR_USAGE, "no databases specified in "
		    "configuration");
		probe_error(&p, &e);
	}
	for (i = 0; i < s->n; i++)
		probe_pair(&p, &s->job[i].pair);
	rc = print_findings(&p);
	probe_free(&p);
	return rc;
}

int
cmd_check(int argc, char **argv)
{
	const char *config = "";
	bool no_expand = false;
	const struct opt opts[] = {
		{ "config", OPT_STRING, &config },
		{ "no-expand-env", OPT_BOOL, &no_expand },
		{ NULL, OPT_BOOL, NULL }
	};
	struct setup s;
	struct err e;
	int at = opt_parse(opts, argc, argv, &e), rc;

	log_to_stderr();
	log_set_level("warn");
	if (at == OPT_BAD) {
		err_hint(&e, "litestream check -h");
		return cmd_fail(&e);
	}
	if (at == OPT_HELP) {
		fputs(help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	if (argc - at != 0 && argc - at != 2)
		return cmd_usage("litestream check -h", "database and replica "
		    "URL, or a configuration");
	if (argc > at && config[0] != '\0')
		return cmd_usage(NULL, "cannot specify a replica URL and the "
		    "-config flag");
	rc = argc > at ? setup_operands(&s, argv + at, &e) :
	    setup_load(&s, config[0] != '\0' ? config :
	    config_default_path(), !no_expand, &e);
	if (rc != 0)
		return cmd_fail(&e);
	rc = check(&s);
	setup_free(&s);
	return rc;
}
