/* SPDX-License-Identifier: ISC */
/* litestream replicate: flags and operands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "cmd_replicate.h"
#include "config.h"
#include "db.h"
#include "opt.h"
#include "replicate.h"
#include "setup.h"

static const char help[] =
"usage: litestream replicate [flags] DB_PATH REPLICA_URL\n"
"       litestream replicate [flags]\n"
"\n"
"Streams every committed change of a database into a directory, until it is\n"
"stopped by SIGINT or SIGTERM; without operands, of all databases of the\n"
"configuration.\n"
"\n"
"  -once                     one pass, then exit\n"
"  -force-snapshot           with -once: write a snapshot, too\n"
"  -enforce-retention        with -once: levels and retention, too\n"
"  -exec COMMAND             run COMMAND, end when it does, with its status\n"
"  -restore-if-db-not-exists restore the database first if it is absent\n"
"  -adopt                    continue a replica of another database\n"
"  -log-level LEVEL          trace, debug, info, warn or error\n"
"  -config PATH              configuration file\n"
"  -no-expand-env            leave $NAME in it alone\n";

struct flags {
	const char *exec, *log_level, *config;
	bool once, force_snapshot, enforce_retention, restore, adopt;
	bool no_expand;
};

static int
check(const struct flags *f, int n, char **operand)
{
	int i;

	for (i = 0; i < n; i++)
		if (operand[i][0] == '-' && operand[i][1] != '\0')
			return cmd_usage(NULL, "flag \"%s\" must be positioned "
			    "before DB_PATH and REPLICA_URL arguments",
			    operand[i]);
	if (n > 0 && f->config[0] != '\0')
		return cmd_usage(NULL, "cannot specify a replica URL and the "
		    "-config flag");
	if (n == 1)
		return cmd_usage("litestream replicate DB_PATH "
		    "file:///path/to/replica",
		    "must specify at least one replica URL for %s",
		    operand[0]);
	if (n == 2 && operand[0][0] == '\0')
		return cmd_usage(NULL, "database path required");
	if (n > 2)
		return cmd_usage(NULL, "multiple replicas on a single "
		    "database are no longer supported");
	if (f->once && f->exec[0] != '\0')
		return cmd_usage(NULL,
		    "cannot specify -once flag with -exec");
	if (f->force_snapshot && !f->once)
		return cmd_usage(NULL,
		    "cannot specify -force-snapshot flag without -once");
	if (f->enforce_retention && !f->once)
		return cmd_usage(NULL,
		    "cannot specify -enforce-retention flag without -once");
	return CMD_OK;
}

static void
say_hello(const struct replicate_args *a, bool once)
{
	size_t i;

	log_line(LOG_INFO, "litestream", "version", CMD_VERSION, "sqlite",
	    db_sqlite_version(), NULL);
	if (db_sqlite_has_reset_bug())
		log_line(once ? LOG_INFO : LOG_WARN, "this version of SQLite "
		    "has the WAL-reset bug, which can lose commits of an "
		    "application that writes and checkpoints by several "
		    "connections", "sqlite", db_sqlite_version(), NULL);
	for (i = 0; i < a->n; i++)
		log_line(LOG_INFO, "replicating to", "type", "file", "db",
		    a->job[i].pair.db_path, "path", a->job[i].pair.root,
		    NULL);
	if (a->n == 0 && !config_watches(a->config))
		log_line(LOG_ERROR, "no databases specified in configuration",
		    NULL);
}

/* Status 3 is for what cannot be restored. */
static int
fail(struct err *e)
{
	if (e->kind == ERR_ABSENT)
		e->kind = ERR_SYSTEM;
	return cmd_fail(e);
}

/* What the configuration says about the log, where no flag does. */
static void
set_log(const struct flags *f, const struct config *c)
{
	if (f->log_level[0] == '\0' && getenv("LOG_LEVEL") == NULL)
		log_set_level(c->log_level);
	if (c->log_stderr)
		log_to_stderr();
	if (strcmp(c->log_type, "json") == 0)
		log_as_json();
	config_warn(c);
}

/* The jobs of s, as the flags want them. */
static void
prepare(const struct flags *f, const struct setup *s,
    struct replicate_args *a)
{
	const struct config *c = s->config;
	size_t i;

	for (i = 0; i < s->n; i++) {
		s->job[i].pair.adopt = f->adopt;
		s->job[i].restore_if_absent |= f->restore;
		s->job[i].persistent = s->n > 1 ||
		    (c != NULL && config_watches(c));
	}
	a->job = s->job;
	a->n = s->n;
	a->config = c;
	a->stop_timeout_ms = c != NULL ? c->stop_timeout_ms :
	    s->job[0].stop_timeout_ms;
	if (a->exec == NULL && c != NULL && c->exec[0] != '\0' && !f->once)
		a->exec = c->exec;
}

static int
run(const struct flags *f, const struct setup *s, struct replicate_args *a)
{
	struct err e;
	int status = CMD_OK;

	if (s->config != NULL && setup_refuse_twins(s, &e) != 0)
		return fail(&e);
	if (s->config != NULL)
		set_log(f, s->config);
	if (s->n == 0 && f->once)
		return cmd_usage(NULL,
		    "no databases specified in configuration");
	prepare(f, s, a);
	say_hello(a, f->once);
	if (replicate_restore(a, &e) != 0)
		return cmd_fail(&e);
	if ((f->once ? replicate_once(a, &e) :
	    replicate_run(a, &status, &e)) == 0)
		return status;
	return fail(&e);
}

int
cmd_replicate(int argc, char **argv)
{
	struct flags f = { .exec = "", .log_level = "", .config = "" };
	const struct opt opts[] = {
		{ "exec", OPT_STRING, &f.exec },
		{ "log-level", OPT_STRING, &f.log_level },
		{ "once", OPT_BOOL, &f.once },
		{ "force-snapshot", OPT_BOOL, &f.force_snapshot },
		{ "enforce-retention", OPT_BOOL, &f.enforce_retention },
		{ "restore-if-db-not-exists", OPT_BOOL, &f.restore },
		{ "adopt", OPT_BOOL, &f.adopt },
		{ "config", OPT_STRING, &f.config },
		{ "no-expand-env", OPT_BOOL, &f.no_expand },
		{ NULL, OPT_BOOL, NULL }
	};
	struct replicate_args a = { 0 };
	struct setup s;
	struct err e;
	int at, rc;

	at = opt_parse(opts, argc, argv, &e);
	if (at == OPT_BAD) {
		err_hint(&e, "litestream replicate -h");
		return cmd_fail(&e);
	}
	if (at == OPT_HELP) {
		fputs(help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	if ((rc = check(&f, argc - at, argv + at)) != CMD_OK)
		return rc;
	if (getenv("LOG_LEVEL") != NULL)
		log_set_level(getenv("LOG_LEVEL"));
	if (f.log_level[0] != '\0')
		log_set_level(f.log_level);
	a.exec = f.exec[0] != '\0' ? f.exec : NULL;
	a.version = CMD_VERSION;
	a.force_snapshot = f.force_snapshot;
	a.enforce_retention = f.enforce_retention;
	rc = argc > at ? setup_operands(&s, argv + at, &e) :
	    setup_load(&s, f.config[0] != '\0' ? f.config :
	    config_default_path(), !f.no_expand, &e);
	if (rc != 0)
		return fail(&e);
	rc = run(&f, &s, &a);
	setup_free(&s);
	return cmd_check_stdout(rc);
}
