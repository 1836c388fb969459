/* SPDX-License-Identifier: ISC */
/* Asking a running replicator through its control socket. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdint.h>

#include "node.h"
#include "util.h"

#define CLIENT_SOCKET "/var/run/litestream.sock"

/*
 * GET of "/name", or POST where there is a body (JSON), by a bound in time (0:
 * none) that the body tells the other end, too.  0 and the answer, *root being
 * a map, the caller's until node_free().  Failures in upstream's words, with
 * "NAME failed:" where it refuses.
 */
int	client_call(const char *socket, const char *name, const char *body,
	    int64_t timeout_ms, struct node_file **f,
	    const struct node **root, struct err *e);
/* What a key of an answer has, "" if it is not there. */
const char *client_field(const struct node *map, const char *key);

#endif
