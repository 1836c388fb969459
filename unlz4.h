/* SPDX-License-Identifier: ISC */
/* A file that is one LZ4 frame, read front to back. */
#ifndef UNLZ4_H
#define UNLZ4_H

#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define UNLZ4_CHUNK 65536	/* the most that unlz4_next() gives */

struct unlz4;

/* fd and path are borrowed. */
int	unlz4_open(struct unlz4 **u, int fd, const char *path,
	    struct err *e);
/* 1 and some bytes, until the next call; 0 at the end, when the frame is
 * complete, its checksums right and nothing follows; -1, ERR_DAMAGED. */
int	unlz4_next(struct unlz4 *u, const uint8_t **p, size_t *n,
	    struct err *e);
void	unlz4_close(struct unlz4 *u);

#endif
