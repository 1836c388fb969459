/* SPDX-License-Identifier: ISC */
/*
 * The other end of the control socket, ours or upstream's.
 *
 * HTTP/1.0 is spoken, so that an answer ends where the connection does, and is
 * never in chunks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "sock.h"

#define GRACE_MS 1000		/* for the reason why it is too late */
#define MAX_ANSWER ((size_t)4 << 20)

static int
unreachable(const char *why, struct err *e)
{
	return err_set(e, ERR_SYSTEM, "failed to connect to control socket: "
	    "%s", why);
}

/* All until the end, with a byte 0 behind it; malloc'd. */
static char *
receive(const struct sock *s, const char *socket, struct err *e)
{
	size_t n = 0, cap = 0;
	char *buf = NULL;
	ssize_t k;

	do {
		buf = xgrow(buf, n, &cap, 1);
		k = sock_read(s, buf + n, cap - n);
		n += k > 0 ? (size_t)k : 0;
	} while (k > 0 && n < MAX_ANSWER);
	if (k == 0) {
		buf[n] = '\0';
		return buf;
	}
	if (k > 0)
		err_set(e, ERR_SYSTEM, "failed to read response: more than "
		    "%zu bytes", MAX_ANSWER);
	else if (errno == ETIMEDOUT)
		err_set(e, ERR_BUSY, "failed to connect to control socket: "
		    "%s: no answer in time", socket);
	else
		err_sys(e, socket, "failed to read response");
	free(buf);
	return NULL;
}

/* The body of an answer and its status; NULL: it is none. */
static char *
split(char *answer, int *status)
{
	char *body = strstr(answer, "\r\n\r\n");

	if (strncmp(answer, "HTTP/1.", 7) != 0 || body == NULL ||
	    strlen(answer) < strlen("HTTP/1.1 200"))
		return NULL;
	*status = atoi(answer + strlen("HTTP/1.1 "));
	return body + 4;
}

static int
understand(const char *name, char *answer, struct node_file **f,
    const struct node **root, struct err *e)
{
	int status = 0;
	char *body = split(answer, &status);
	const char *why;
	struct err bad;

	if (body == NULL)
		return err_set(e, ERR_SYSTEM, "failed to parse response: not "
		    "HTTP");
	if (node_parse("answer", body, strlen(body), f, root, &bad) != 0)
		*f = NULL;
	if (status != 200) {
		why = *f != NULL ? client_field(*root, "error") : "";
		err_set(e, ERR_SYSTEM, "%s failed: %s", name,
		    why[0] != '\0' ? why : body);
	} else if (*f == NULL || (*root)->kind != NODE_MAP)
		err_set(e, ERR_SYSTEM, "failed to parse response: %s",
		    *f == NULL ? bad.text : "not an object");
	else
		return 0;
	node_free(*f);
	return -1;
}

int
client_call(const char *socket, const char *name, const char *body,
    int64_t timeout_ms, struct node_file **f, const struct node **root,
    struct err *e)
{
	struct sock s = { .stop_fd = -1, .until_ms = timeout_ms > 0 ?
	    time_mono_ms() + timeout_ms + (body != NULL ? GRACE_MS : 0) :
	    INT64_MAX };
	char *request, *answer = NULL;
	struct err why;
	int rc = -1;

	s.fd = sock_connect(socket, timeout_ms > 0 ? timeout_ms : 0, &why);
	if (s.fd < 0)
		return unreachable(why.text, e);
	request = xasprintf("%s /%s HTTP/1.0\r\nHost: localhost\r\n"
	    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
	    body != NULL ? "POST" : "GET", name,
	    body != NULL ? strlen(body) : 0, body != NULL ? body : "");
	if (sock_write(&s, request, strlen(request)) != 0)
		unreachable("it does not listen", e);
	else if ((answer = receive(&s, socket, e)) != NULL)
		rc = understand(name, answer, f, root, e);
	close(s.fd);
	free(answer);
	free(request);
	return rc;
}

const char *
client_field(const struct node *map, const char *key)
{
	const struct node *n = node_get(map, key);

	return n != NULL && n->kind == NODE_SCALAR ? n->text : "";
}
