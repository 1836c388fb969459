/* SPDX-License-Identifier: ISC */
/* Jobs from a configuration, or from defaults. */
#ifndef SETUP_H
#define SETUP_H

#include <stddef.h>

#include "config.h"
#include "job.h"
#include "util.h"

/* One database with upstream's defaults; the paths are borrowed. */
void	setup_defaults(struct job_config *j, const char *db_path,
	    const char *root);

/* As the configuration wants it for one of its databases, whose entry is
 * pointed into. */
void	setup_job(struct job_config *j, const struct config *c,
	    const struct config_db *d);

struct setup {
	struct config *config;		/* NULL: from operands */
	struct job_config *job;		/* point into config and entry */
	size_t n, cap;
	struct config_db **entry;	/* of databases in directories */
	size_t n_entries, cap_entries;
};

/* Databases of directories are those that are there now.  ERR_USAGE. */
int	setup_load(struct setup *s, const char *path, bool expand_env,
	    struct err *e);
/* One database under two names would get two replicators: ERR_USAGE. */
int	setup_refuse_twins(const struct setup *s, struct err *e);
/* One database, from DB_PATH and REPLICA_URL.  ERR_USAGE. */
int	setup_operands(struct setup *s, char **operand, struct err *e);
void	setup_free(struct setup *s);

#endif
