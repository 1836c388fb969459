/* SPDX-License-Identifier: ISC */
/* Operands. */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "operand.h"
#include "store.h"

static const char *
skip_scheme(const char *s)
{
	static const char *const scheme[] = { "sqlite://", "sqlite3://" };
	size_t i, n;

	for (i = 0; i < sizeof scheme / sizeof scheme[0]; i++) {
		n = strlen(scheme[i]);
		if (strncmp(s, scheme[i], n) == 0)
			return s + n;
	}
	return s;
}

char *
operand_db(const char *s)
{
	return path_abs(skip_scheme(s));
}

/* From the configuration: takes db, which becomes *out or is freed. */
static char *
configured_root(const char *path, bool expand_env, char *db, char **out,
    struct err *e)
{
	struct config_db *entry = NULL;
	struct config *c = NULL;
	char *root = NULL;

	if (config_load(path, expand_env, &c, e) == 0) {
		entry = config_find(c, db);
		if (entry == NULL) {
			err_set(e, ERR_USAGE, "database not found in config: "
			    "%s", db);
			err_hint(e, "give the replica as a URL: "
			    "file:///path/to/directory");
		} else
			root = xstrdup(entry->root);
	}
	config_db_free(entry);
	config_free(c);
	if (root != NULL)
		*out = db;
	else
		free(db);
	return root;
}

bool
operand_is_url(const char *s)
{
	return store_is_url(s) && skip_scheme(s) == s;
}

char *
operand_root(const char *operand, const char *config, bool expand_env,
    char **db, struct err *e)
{
	*db = NULL;
	if (!operand_is_url(operand))
		return configured_root(config != NULL ? config :
		    config_default_path(), expand_env, operand_db(operand), db,
		    e);
	if (config == NULL)
		return store_url_path(operand, e);
	err_set(e, ERR_USAGE, "cannot specify a replica URL and the -config "
	    "flag");
	return NULL;
}
