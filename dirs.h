/* SPDX-License-Identifier: ISC */
/* The directories of a configuration whose databases come and go. */
#ifndef DIRS_H
#define DIRS_H

#include <stdint.h>

#include "config.h"
#include "fleet.h"
#include "util.h"

struct dirs;

/* NULL if none of c's is to be watched; c must outlive it. */
struct dirs *dirs_new(const struct config *c);
void	dirs_free(struct dirs *d);
/* Becomes readable when names have changed; -1: it is only looked from time to
 * time. */
int	dirs_fd(const struct dirs *d);
/* When to call dirs_look(), since boot. */
int64_t	dirs_next(const struct dirs *d);
/* After dirs_fd() became readable, or the moment has come: adds to f what is
 * new, and removes what has gone. */
void	dirs_look(struct dirs *d, struct fleet *f);

#endif
