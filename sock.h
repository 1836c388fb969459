/* SPDX-License-Identifier: ISC */
/* Listening, connecting, and reading and writing with a bound in time. */
#ifndef SOCK_H
#define SOCK_H

#include <sys/stat.h>

#include <stddef.h>
#include <stdint.h>

#include "util.h"

/* A listening socket, or -1.  A socket of that path to which nobody listens is
 * removed; what else is there is an error.  *mine: for sock_unlink(). */
int	sock_listen_unix(const char *path, unsigned mode, struct stat *mine,
	    struct err *e);
/* Removes its path, unless that is another's by now. */
void	sock_unlink(const char *path, const struct stat *mine);
/* addr: HOST:PORT, [HOST]:PORT or :PORT. */
int	sock_listen_tcp(const char *addr, struct err *e);
/* A socket connected to a path, or -1. */
int	sock_connect(const char *path, int64_t timeout_ms, struct err *e);

/* A connection. */
struct sock {
	int fd;			/* which does not block */
	int stop_fd;		/* give up when it can be read; -1: none */
	int64_t until_ms;	/* give up at this moment, since boot */
};

/* Some bytes: how many; 0: the other end sends no more; -1, with ETIMEDOUT in
 * errno for what is given up. */
ssize_t	sock_read(const struct sock *s, void *p, size_t n);
/* All of it: 0 or -1. */
int	sock_write(const struct sock *s, const char *p, size_t n);

#endif
