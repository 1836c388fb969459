/* SPDX-License-Identifier: ISC */
/*
 * Which database files the threads of a process have open.  Nobody opens one
 * that another has, as the POSIX locks of a file end when its process closes
 * any descriptor of it.  For any thread; no disk is touched.
 */
#ifndef CLAIMS_H
#define CLAIMS_H

#include "disk.h"
#include "util.h"

struct claims;

struct claims *claims_new(void);
void	claims_free(struct claims *c);
/* Before path, which leads to st (by device and inode), is opened: ERR_BUSY if
 * somebody has it, under whatever name.  c: NULL where nobody else is. */
int	claims_take(struct claims *c, const char *path,
	    const struct disk_stat *st, struct err *e);
/* After it was closed, by who has taken it. */
void	claims_drop(struct claims *c, const char *path);

#endif
