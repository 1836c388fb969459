/* SPDX-License-Identifier: ISC */
/*
 * Litestream for a local directory: the commands.
 *
 *	apply.c: apply.h ltx.h
 *	ask.c: ask.h
 *	audit.c: audit.h image.h ltx.h
 *	capture.c: capture.h ltx.h wal.h
 *	check.c: check.h ltx.h
 *	checkpoint.c: checkpoint.h
 *	claims.c: claims.h
 *	client.c: client.h sock.h
 *	cmd.c: cmd.h
 *	cmd_check.c: cmd.h cmd_check.h config.h keys.h opt.h probe.h
 *	    setup.h
 *	cmd_config.c: cmd.h cmd_config.h config.h opt.h scan.h
 *	cmd_control.c: client.h cmd.h cmd_control.h keys.h operand.h opt.h
 *	cmd_ltx.c: cmd.h cmd_ltx.h listing.h operand.h opt.h points.h
 *	    store.h
 *	cmd_prune.c: cmd.h cmd_prune.h opt.h pass.h plan.h store.h util.h
 *	cmd_replicate.c: cmd.h cmd_replicate.h config.h db.h opt.h
 *	    replicate.h setup.h
 *	cmd_reset.c: cmd.h cmd_reset.h disk.h opt.h resume.h state.h
 *	    store.h target.h
 *	cmd_restore.c: cmd.h cmd_restore.h config.h follow.h listing.h
 *	    operand.h opt.h restore.h scan.h store.h util.h v3.h
 *	cmd_status.c: cmd.h cmd_status.h opt.h status.h target.h
 *	cmd_sync.c: client.h cmd.h cmd_sync.h operand.h opt.h state.h
 *	    target.h
 *	cmd_verify.c: cmd.h cmd_verify.h opt.h receipt.h store.h util.h
 *	    verify.h
 *	compact.c: compact.h pass.h
 *	compare.c: check.h compare.h db.h image.h plan.h state.h
 *	config.c: config.h keys.h node.h store.h
 *	control.c: ask.h control.h http.h metrics.h node.h operand.h
 *	    setup.h store.h
 *	crc64.c: be.h crc64.h
 *	db.c: be.h db.h disk.h wal.h
 *	diff.c: capture.h image.h ltx.h wal.h
 *	dirs.c: dirs.h scan.h setup.h
 *	disk.c: disk.h
 *	emit.c: emit.h ltx.h wal.h
 *	exec.c: exec.h
 *	findings.c: findings.h
 *	fleet.c: disk.h fleet.h
 *	follow.c: apply.h disk.h follow.h plan.h standby.h store.h watch.h
 *	hooks.c: exec.h hooks.h
 *	http.c: http.h
 *	image.c: image.h ltx.h
 *	intact.c: intact.h
 *	job.c: checkpoint.h job.h upkeep.h
 *	keys.c: keys.h
 *	levels.c: hooks.h levels.h
 *	listing.c: listing.h
 *	litestream-test.c: test_cmds.h
 *	litestream.c: cmd.h cmd_check.h cmd_config.h cmd_control.h
 *	    cmd_ltx.h cmd_prune.h cmd_replicate.h cmd_reset.h cmd_restore.h
 *	    cmd_status.h cmd_sync.h cmd_verify.h db.h opt.h
 *	log.c: log.h text.h
 *	ltx.c: be.h ltx.h ltx_format.h
 *	ltx_read.c: be.h crc64.h disk.h ltx.h ltx_format.h
 *	ltx_write.c: be.h crc64.h disk.h ltx.h ltx_format.h
 *	merge.c: ltx.h merge.h
 *	metrics.c: metrics.h
 *	node.c: node.h
 *	operand.c: config.h operand.h store.h
 *	opt.c: opt.h
 *	output.c: output.h
 *	pages.c: be.h crc64.h pages.h
 *	pair.c: checkpoint.h claims.h hooks.h pair.h plan.h resume.h
 *	    snapshot.h
 *	pass.c: merge.h pass.h plan.h
 *	plan.c: plan.h
 *	points.c: plan.h points.h
 *	probe.c: db.h disk.h pages.h probe.h resume.h state.h store.h
 *	progress.c: progress.h util.h
 *	receipt.c: disk.h receipt.h
 *	replicate.c: control.h dirs.h exec.h fleet.h hooks.h replicate.h
 *	    restore.h
 *	restore.c: db.h disk.h ltx.h output.h progress.h restore.h v3.h
 *	resume.c: ltx.h plan.h resume.h
 *	retain.c: plan.h retain.h
 *	scan.c: scan.h
 *	setup.c: compact.h operand.h scan.h setup.h store.h
 *	snapshot.c: image.h ltx.h snapshot.h store.h
 *	sock.c: sock.h
 *	standby.c: be.h db.h disk.h ltx.h standby.h
 *	state.c: crc64.h state.h
 *	status.c: be.h status.h store.h wal.h
 *	store.c: be.h store.h
 *	target.c: config.h operand.h setup.h store.h target.h
 *	test_load.c: test_cmds.h
 *	test_run.c: test_cmds.h
 *	test_shrink.c: test_cmds.h
 *	test_sql.c: test_cmds.h
 *	test_validate.c: test_cmds.h
 *	text.c: text.h util.h
 *	trouble.c: trouble.h
 *	unlz4.c: unlz4.h
 *	upkeep.c: checkpoint.h upkeep.h wal.h
 *	util.c: util.h
 *	v3.c: be.h db.h disk.h unlz4.h v3.h wal.h
 *	verify.c: check.h compare.h db.h disk.h findings.h plan.h
 *	    restore.h v3.h verify.h
 *	wal.c: be.h disk.h wal.h
 *	watch.c: watch.h
 */
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "cmd_check.h"
#include "cmd_config.h"
#include "cmd_control.h"
#include "cmd_ltx.h"
#include "cmd_prune.h"
#include "cmd_replicate.h"
#include "cmd_reset.h"
#include "cmd_restore.h"
#include "cmd_status.h"
#include "cmd_sync.h"
#include "cmd_verify.h"
#include "db.h"
#include "opt.h"

static const char usage[] =
"litestream streams a live SQLite database into a directory, and restores it.\n"
"\n"
"usage: litestream COMMAND [flags] [operands]\n"
"\n"
"  replicate   stream a database into a directory\n"
"  restore     write a database from a replica\n"
"  ltx         list the files of a replica\n"
"  verify      prove that a replica is whole\n"
"  prune       delete history that is not kept any more\n"
"  status      say how databases and replicas stand\n"
"  sync        wait until every commit is in the replica\n"
"  check       print the configuration, and try whether it would work\n"
"  databases   list the databases of the configuration\n"
"  reset       forget what is remembered beside a database\n"
"\n"
"Asking a replicator that has a control socket:\n"
"\n"
"  info        tell about it\n"
"  list        list its databases\n"
"  stop        stop the replication of a database\n"
"  start       start it again\n"
"  register    have one more database replicated\n"
"  unregister  have a database replicated no more\n"
"\n"
"  version     print the version\n"
"  help        print this\n"
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
	{ "status", cmd_status },
	{ "sync", cmd_sync },
	{ "check", cmd_check },
	{ "databases", cmd_databases },
	{ "reset", cmd_reset },
	{ "info", cmd_info },
	{ "list", cmd_list },
	{ "start", cmd_start },
	{ "stop", cmd_stop },
	{ "register", cmd_register },
	{ "unregister", cmd_unregister },
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
