/* SPDX-License-Identifier: ISC */
/*
 * As much of HTTP/1.1 as a control socket takes: one request for each
 * connection, of a bounded size.
 */
#ifndef HTTP_H
#define HTTP_H

#include <stddef.h>

#include "sock.h"

#define HTTP_MAX 65536		/* bytes of a request, head and body */

struct http_request {
	const char *method, *path;
	const char *query;	/* "" where there is none; not decoded */
	char *body;		/* ends with a byte 0 */
	size_t body_size;
};

/*
 * The request that begins at buf, of which n bytes are there; one more byte
 * must be writable, and all are taken apart once it is complete.  200; 0 if
 * more is needed; else the status to answer with.
 */
int	http_parse(char *buf, size_t n, struct http_request *r);
/* The value of a parameter of the query, decoded, malloc'd; NULL: not there. */
char	*http_query(const char *query, const char *name);
/* What a status is called. */
const char *http_reason(int status);

/* Reads a request into buf (HTTP_MAX + 1 bytes) as http_parse() tells it;
 * -1: there is nobody to answer. */
int	http_receive(const struct sock *s, char *buf,
	    struct http_request *r);
void	http_answer(const struct sock *s, int status, const char *type,
	    const char *body, size_t n);

#endif
