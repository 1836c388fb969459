/* SPDX-License-Identifier: ISC */
/* Command-line flags, with the syntax and the messages of Go's flag package. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "opt.h"

#define TXID_DIGITS 16

static const char *const truths[] = { "1", "t", "T", "TRUE", "true", "True" };
static const char *const lies[] = { "0", "f", "F", "FALSE", "false",
    "False" };

static const struct opt *
find(const struct opt *o, const char *name, size_t len)
{
	for (; o->name != NULL; o++)
		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
	return NULL;
}

static int
parse_bool(const char *s, bool *v)
{
	size_t i;

	for (i = 0; i < sizeof(truths) / sizeof(truths[0]); i++) {
		*v = strcmp(s, truths[i]) == 0;
		if (*v || strcmp(s, lies[i]) == 0)
			return 0;
	}
	return -1;
}

static int
parse_txid(const char *s, uint64_t *v)
{
	if (strlen(s) != TXID_DIGITS ||
	    strspn(s, "0123456789abcdefABCDEF") != TXID_DIGITS)
		return -1;
	*v = strtoull(s, NULL, 16);
	return 0;
}

/* NULL, or what is wrong with s. */
static const char *
parse_int(const char *s, int *v)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(s, &end, 0);
	if (end == s || *end != '\0' || strchr(" \t\n\v\f\r", *s) != NULL)
		return "parse error";
	if (errno == ERANGE || n < INT_MIN || n > INT_MAX)
		return "value out of range";
	*v = (int)n;
	return NULL;
}

static const char *
parse_float(const char *s, double *v)
{
	char *end;

	errno = 0;
	*v = strtod(s, &end);
	if (end == s || *end != '\0' || strchr(" \t\n\v\f\r", *s) != NULL)
		return "parse error";
	return errno == ERANGE ? "value out of range" : NULL;
}

static const char *
parse_value(const struct opt *o, const char *s)
{
	switch (o->kind) {
	case OPT_BOOL:
		return parse_bool(s, o->value) == 0 ? NULL : "parse error";
	case OPT_STRING:
		*(const char **)o->value = s;
		return NULL;
	case OPT_INT:
		return parse_int(s, o->value);
	case OPT_FLOAT:
		return parse_float(s, o->value);
	case OPT_DURATION:
		return duration_parse(s, o->value) == 0 ? NULL : "parse error";
	case OPT_TXID:
		return parse_txid(s, o->value) == 0 ? NULL :
		    "invalid txid format";
	}
	return "parse error";
}

/* How many arguments the flag at argv[0] takes; OPT_HELP or OPT_BAD. */
static int
parse_one(const struct opt *opts, int argc, char **argv, struct err *e)
{
	const struct opt *o;
	const char *name, *value, *why;
	size_t len;
	int used = 1;

	name = argv[0] + (argv[0][1] == '-' ? 2 : 1);
	if (*name == '\0' || *name == '-' || *name == '=')
		return err_set(e, ERR_USAGE, "bad flag syntax: %s", argv[0]);
	len = strcspn(name, "=");
	value = name[len] == '=' ? name + len + 1 : NULL;
	o = find(opts, name, len);
	if (o == NULL && ((len == 1 && *name == 'h') ||
	    (len == 4 && memcmp(name, "help", len) == 0)))
		return OPT_HELP;
	if (o == NULL)
		return err_set(e, ERR_USAGE, "flag provided but not defined: "
		    "-%.*s", (int)len, name);
	if (value == NULL && o->kind == OPT_BOOL) {
		value = "true";
	} else if (value == NULL) {
		if (argc < 2)
			return err_set(e, ERR_USAGE, "flag needs an argument: "
			    "-%s", o->name);
		value = argv[1];
		used = 2;
	}
	why = parse_value(o, value);
	if (why != NULL)
		return err_set(e, ERR_USAGE, o->kind == OPT_BOOL ?
		    "invalid boolean value \"%s\" for -%s: %s" :
		    "invalid value \"%s\" for flag -%s: %s", value, o->name,
		    why);
	return used;
}

int
opt_parse(const struct opt *opts, int argc, char **argv, struct err *e)
{
	int i = 1, used;

	while (i < argc && argv[i][0] == '-' && argv[i][1] != '\0') {
		if (strcmp(argv[i], "--") == 0)
			return i + 1;
		used = parse_one(opts, argc - i, argv + i, e);
		if (used < 0)
			return used;
		i += used;
	}
	return i;
}
