/* SPDX-License-Identifier: ISC */
/* Operands of the commands: databases and replicas. */
#ifndef OPERAND_H
#define OPERAND_H

#include <stdbool.h>

#include "util.h"

/* A database as upstream takes it, absolute, malloc'd: sqlite:// and
 * sqlite3:// in front are dropped. */
char	*operand_db(const char *s);
/* Whether it is a URL, and no database with such a prefix. */
bool	operand_is_url(const char *s);
/*
 * The replica directory (malloc'd) that an operand means: a file:// URL, or a
 * database of the configuration (config NULL: the default one), whose path goes
 * into *db (malloc'd, NULL for a URL).  NULL with ERR_USAGE.
 */
char	*operand_root(const char *operand, const char *config,
	    bool expand_env, char **db, struct err *e);

#endif
