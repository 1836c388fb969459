/* SPDX-License-Identifier: ISC */
/*
 * A file that is one LZ4 frame, as Litestream 0.3 wrote them (blocks of 4 MiB,
 * checksum of the content).  The library checks the frame, and bounds its own
 * memory by the block size in the header, two blocks of at most 4 MiB.
 */
#include <errno.h>
#include <lz4frame.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "unlz4.h"

struct unlz4 {
	int fd;
	const char *path;
	LZ4F_dctx *lz4;
	uint8_t in[UNLZ4_CHUNK], out[UNLZ4_CHUNK];
	size_t pos, end;
	bool complete;
};

int
unlz4_open(struct unlz4 **out, int fd, const char *path, struct err *e)
{
	struct unlz4 *u = xcalloc(1, sizeof(*u));

	u->fd = fd;
	u->path = path;
	if (LZ4F_isError(LZ4F_createDecompressionContext(&u->lz4,
	    LZ4F_VERSION))) {
		free(u);
		errno = ENOMEM;
		return err_sys(e, path, "LZ4");
	}
	*out = u;
	return 0;
}

/* 1 if there are unread bytes, 0 at the end of the file, -1. */
static int
fill(struct unlz4 *u, struct err *e)
{
	ssize_t k;

	if (u->pos < u->end)
		return 1;
	do
		k = read(u->fd, u->in, sizeof(u->in));
	while (k < 0 && errno == EINTR);
	if (k < 0)
		return err_sys(e, u->path, "read");
	u->pos = 0;
	u->end = (size_t)k;
	return k > 0;
}

int
unlz4_next(struct unlz4 *u, const uint8_t **p, size_t *n, struct err *e)
{
	size_t in, left;
	int rc;

	for (;;) {
		rc = fill(u, e);
		if (rc < 0)
			return -1;
		if (u->complete)
			return rc == 0 ? 0 : err_set(e, ERR_DAMAGED,
			    "%s: bytes follow the LZ4 frame", u->path);
		if (rc == 0)
			return err_set(e, ERR_DAMAGED,
			    "%s: LZ4 frame ends early", u->path);
		in = u->end - u->pos;
		*n = sizeof(u->out);
		left = LZ4F_decompress(u->lz4, u->out, n, u->in + u->pos,
		    &in, NULL);
		if (LZ4F_isError(left))
			return err_set(e, ERR_DAMAGED,
			    "%s: invalid LZ4 frame: %s", u->path,
			    LZ4F_getErrorName(left));
		u->pos += in;
		u->complete = left == 0;
		*p = u->out;
		if (*n > 0)
			return 1;
	}
}

void
unlz4_close(struct unlz4 *u)
{
	if (u == NULL)
		return;
	(void)LZ4F_freeDecompressionContext(u->lz4);
	free(u);
}
