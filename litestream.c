/* SPDX-License-Identifier: ISC */
/*
 * Litestream for a local directory: the commands.
 *
GRAPH
 */
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "cmd_config.h"
#include "cmd_prune.h"
#include "cmd_replicate.h"
#include "cmd_restore.h"
#include "cmd_verify.h"
#include "db.h"
#include "opt.h"

static const char usage[] =
"litestream streams a live SQLite database into a directory, and restores it.\n"
"\n"
"usage: litestream COMMAND [flags] [operands]\n"
"\n"
"  replicate  stream a database into a directory\n"
"  restore    write a database from a replica\n"
"  ltx        list the files of a replica\n"
"  verify     prove that a replica is whole\n"
"  prune      delete history that is not kept any more\n"
"  databases  list the databases of the configuration\n"
"  version    print the version\n"
"  help       print this\n"
"\n"
"\"litestream COMMAND -h\" tells about one of them; see also litestream(1).\n";

static int
cmd_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fputs(usage, stdout);
	return cmd_check_stdout(CMD_OK);
}

static int
cmd_version(int argc, char **argv)
{
	bool verbose = false;
	const struct opt opts[] = {
		{ "verbose", OPT_BOOL, &verbose },
		{ NULL, OPT_BOOL, NULL }
	};
	struct err e;
	int at = opt_parse(opts, argc, argv, &e);

	if (at == OPT_BAD)
		return cmd_fail(&e);
	if (at == OPT_HELP)
		puts("usage: litestream version [-verbose]");
	else if (verbose)
		printf("Version:  %s\nSQLite:   %s\n", CMD_VERSION,
		    db_sqlite_version());
	else
		puts(CMD_VERSION);
	return cmd_check_stdout(CMD_OK);
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "replicate", cmd_replicate },
	{ "restore", cmd_restore },
	{ "ltx", cmd_ltx },
	{ "verify", cmd_verify },
	{ "prune", cmd_prune },
	{ "databases", cmd_databases },
	{ "version", cmd_version },
	{ "help", cmd_help },
	{ "-h", cmd_help },
	{ "-help", cmd_help },
	{ "--help", cmd_help },
};

int
main(int argc, char **argv)
{
	size_t i;

	if (argc < 2 || (argv[1][0] == '-' && strcmp(argv[1], "-h") != 0 &&
	    strcmp(argv[1], "-help") != 0 && strcmp(argv[1], "--help") != 0)) {
		fputs(usage, stdout);
		return CMD_USAGE;
	}
	for (i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (strcmp(argv[1], "wal") == 0) {
		fputs("Warning: wal is an old name of ltx\n", stderr);
		return cmd_ltx(argc - 1, argv + 1);
	}
	return cmd_usage("litestream help",
	    "litestream %s: unknown command", argv[1]);
}
