/* SPDX-License-Identifier: ISC */
/* Listening, connecting, and sending with a bound in time. */
#ifndef SOCK_H
#define SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

/* A listening socket, or -1.  Of a path: what is there is removed if it is a
 * socket, and is an error else. */
int	sock_listen_unix(const char *path, unsigned mode, struct err *e);
/* addr: HOST:PORT, [HOST]:PORT or :PORT. */
int	sock_listen_tcp(const char *addr, struct err *e);
/* A socket connected to a path, or -1. */
int	sock_connect(const char *path, struct err *e);
/* Waits for what of poll(2); false: the moment, since boot, has come. */
bool	sock_await(int fd, short what, int64_t until_ms);
/* Writes all of it until that moment: 0 or -1. */
int	sock_send(int fd, const char *p, size_t n, int64_t until_ms);

#endif
