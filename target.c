/* SPDX-License-Identifier: ISC */
/* From operands and configuration to databases. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "operand.h"
#include "setup.h"
#include "store.h"
#include "target.h"

static char *
copy(const char *s)
{
	return s != NULL ? xstrdup(s) : NULL;
}

static void
add(struct targets *l, const char *db, const char *root, const char *meta,
    int64_t sync_interval_ms)
{
	struct target *t;

	l->t = xgrow(l->t, l->n, &l->cap, sizeof *l->t);
	t = &l->t[l->n++];
	t->db = xstrdup(db);
	t->root = copy(root);
	t->meta = copy(meta);
	t->sync_interval_ms = sync_interval_ms;
}

/* One path, or two that lead to one file. */
static bool
same_db(const char *a, const char *b)
{
	struct disk_stat x, y;
	struct err ignored;

	return strcmp(a, b) == 0 || (disk_stat(a, &x, &ignored) == 0 &&
	    disk_stat(b, &y, &ignored) == 0 && x.dev == y.dev &&
	    x.ino == y.ino);
}

/* By its name, which touches no disk but that of the configuration: another
 * database's may not answer.  1; 0: the configuration has no such name; -1. */
static int
by_name(struct targets *l, const char *path, bool expand_env, const char *db,
    struct err *e)
{
	struct config *c;
	struct config_db *d;

	if (config_load(path, expand_env, &c, e) != 0)
		return -1;
	if ((d = config_find(c, db)) != NULL) {
		add(l, db, d->root, d->meta_path, d->sync.interval_ms);
		config_db_free(d);
	}
	config_free(c);
	return d != NULL;
}

/* The databases of the configuration; db: only that one. */
static int
from_config(struct targets *l, const char *path, bool expand_env,
    const char *db, struct err *e)
{
	const struct job_config *j;
	struct setup s;
	size_t i;
	int rc;

	if (db != NULL && (rc = by_name(l, path, expand_env, db, e)) != 0)
		return rc < 0 ? -1 : 0;
	if (setup_load(&s, path, expand_env, e) != 0)
		return -1;
	for (i = 0; i < s.n; i++) {
		j = &s.job[i];
		if (db == NULL || same_db(db, j->pair.db_path))
			add(l, j->pair.db_path, j->pair.root, j->pair.meta,
			    j->sync_interval_ms);
	}
	setup_free(&s);
	return 0;
}

static int
one(struct targets *l, const char *db, const char *config, bool expand_env,
    struct err *e)
{
	const char *path = config[0] != '\0' ? config : config_default_path();
	bool must = config[0] != '\0' || access(path, F_OK) == 0;

	if (must && from_config(l, path, expand_env, db, e) != 0)
		return -1;
	if (l->n > 0)
		return 0;
	if (config[0] == '\0') {
		add(l, db, NULL, NULL, -1);
		return 0;
	}
	return err_set(e, ERR_USAGE, "database not found in config: %s", db);
}

int
target_load(struct targets *l, int n, char **operand, const char *config,
    bool expand_env, struct err *e)
{
	char *db, *root;
	int rc = 0;

	memset(l, 0, sizeof *l);
	if (n == 0)
		return from_config(l, config[0] != '\0' ? config :
		    config_default_path(), expand_env, NULL, e);
	if (n > 2)
		return err_set(e, ERR_USAGE, "too many arguments");
	if (n == 2 && config[0] != '\0')
		return err_set(e, ERR_USAGE, "cannot specify a replica URL "
		    "and the -config flag");
	db = operand_db(operand[0]);
	if (n == 1)
		rc = one(l, db, config, expand_env, e);
	else if ((root = store_url_path(operand[1], e)) != NULL) {
		add(l, db, root, NULL, -1);
		free(root);
	} else
		rc = -1;
	free(db);
	return rc;
}

void
target_free(struct targets *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		free(l->t[i].db);
		free(l->t[i].root);
		free(l->t[i].meta);
	}
	free(l->t);
	memset(l, 0, sizeof *l);
}
