/* SPDX-License-Identifier: ISC */
/* The databases of a directory. */
#ifndef SCAN_H
#define SCAN_H

#include <stddef.h>

#include "claims.h"
#include "config.h"
#include "util.h"

/*
 * The files beneath d->dir that d's pattern matches and that begin as SQLite
 * databases do, sorted, absolute; but none of known (paths), and none that one
 * of those leads to: by the claims, where this process has databases open, and
 * no disk but that of the directory is touched; else (NULL) by the files.
 * *paths and each of them malloc'd, see scan_free().  Directories are not
 * followed through symbolic links.  ERR_SYSTEM if nothing matches at all, known
 * or not, and d is not watched.
 */
int	scan_dir(const struct config_db *d, const char *const *known,
	    size_t n_known, struct claims *claims, char ***paths, size_t *n,
	    struct err *e);
/* The directories in which scan_dir() looks, d->dir first; the same way. */
int	scan_dirs(const struct config_db *d, char ***paths, size_t *n,
	    struct err *e);
/*
 * The databases beneath d->dir, there or not, that have a replica beneath
 * d->root; the same way.  ERR_ABSENT if there is none.
 */
int	scan_replicas(const struct config_db *d, char ***paths, size_t *n,
	    struct err *e);
void	scan_free(char **paths, size_t n);

#endif
