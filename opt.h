/* SPDX-License-Identifier: ISC */
/*
 * Command-line flags in Go's syntax: -x v, -x=v, --x; bools -b or -b=false;
 * parsing stops at the first operand or after "--".
 */
#ifndef OPT_H
#define OPT_H

#include "util.h"

enum opt_kind {
	OPT_BOOL,	/* bool */
	OPT_STRING,	/* const char * */
	OPT_INT,	/* int */
	OPT_FLOAT,	/* double */
	OPT_DURATION,	/* int64_t, ms */
	OPT_TXID	/* uint64_t, exactly 16 hex digits */
};

struct opt {
	const char *name;	/* without dashes; NULL ends the table */
	enum opt_kind kind;
	void *value;
};

/*
 * Index of the first operand in argv (argv[0] is the command's name and is
 * skipped); OPT_HELP if -h, -help or --help was met; OPT_BAD with ERR_USAGE in
 * Go's words ("flag provided but not defined: -x").
 */
#define OPT_HELP (-2)
#define OPT_BAD (-1)
int	opt_parse(const struct opt *opts, int argc, char **argv,
	    struct err *e);

#endif
