/* SPDX-License-Identifier: ISC */
/*
 * HTTP.
 *
 * A head is lines that end with \n or \r\n, up to an empty one.  Of its fields
 * only Content-Length matters; one that is there twice, or a body whose end
 * only its own bytes tell (Transfer-Encoding), is refused, so that there is one
 * reading of where a request ends.  A connection is closed after its answer.
 *
 * The peer is not trusted with our memory or time: sizes are bounded, sockets
 * do not block, and every exchange has a moment at which it ends.
 */
#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "http.h"
#include "sock.h"

#define HEAD_MAX 8192
#define TIMEOUT_MS 5000		/* for a request, and for its answer */

const char *
http_reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 409:
		return "Conflict";
	case 413:
		return "Request Entity Too Large";
	case 501:
		return "Not Implemented";
	default:
		return "Internal Server Error";
	}
}

/* The length that a field gives; false: it is none. */
static bool
parse_length(const char *s, size_t *n)
{
	size_t digits = strspn(s, "0123456789");

	*n = 0;
	if (digits == 0 || s[digits + strspn(s + digits, " \t")] != '\0')
		return false;
	for (; digits-- > 0; s++)
		if (*n <= HTTP_MAX)
			*n = 10 * *n + (size_t)(*s - '0');
	return true;
}

/* One line of the head behind the first. */
static int
parse_field(char *line, size_t *length, bool *given)
{
	char *colon = strchr(line, ':'), *value;

	if (colon == NULL || line + strcspn(line, " \t:") != colon ||
	    colon == line)
		return 400;
	*colon = '\0';
	value = colon + 1 + strspn(colon + 1, " \t");
	if (strcasecmp(line, "transfer-encoding") == 0)
		return 501;
	if (strcasecmp(line, "content-length") != 0)
		return 200;
	if (*given || !parse_length(value, length))
		return 400;
	*given = true;
	return 200;
}

/* METHOD PATH?QUERY HTTP/1.x */
static int
parse_first(char *line, struct http_request *r)
{
	char *path = strchr(line, ' '), *version, *query;

	if (path == NULL || path == line)
		return 400;
	*path++ = '\0';
	if ((version = strchr(path, ' ')) == NULL || path[0] != '/')
		return 400;
	*version++ = '\0';
	if (strcmp(version, "HTTP/1.1") != 0 &&
	    strcmp(version, "HTTP/1.0") != 0)
		return 400;
	if ((query = strchr(path, '?')) != NULL)
		*query++ = '\0';
	r->method = line;
	r->path = path;
	r->query = query != NULL ? query : "";
	return 200;
}

/* Where the head ends, the empty line with it; 0: not yet. */
static size_t
head_size(const char *buf, size_t n)
{
	size_t i;

	for (i = 0; i + 1 < n; i++)
		if (buf[i] == '\n' && (buf[i + 1] == '\n' || (i + 2 < n &&
		    buf[i + 1] == '\r' && buf[i + 2] == '\n')))
			return i + (buf[i + 1] == '\n' ? 2 : 3);
	return 0;
}

/* The body's length from a head, which stays as it is. */
static int
find_length(const char *buf, size_t head, size_t *length)
{
	char *copy = xmalloc(head + 1), *line, *end;
	bool given = false;
	int rc = 200;

	memcpy(copy, buf, head);
	copy[head] = '\0';
	*length = 0;
	line = strchr(copy, '\n') + 1;
	for (; rc == 200 && (end = strchr(line, '\n')) != NULL;
	    line = end + 1) {
		*end = '\0';
		if (end > line && end[-1] == '\r')
			end[-1] = '\0';
		if (*line != '\0')
			rc = parse_field(line, length, &given);
	}
	free(copy);
	return rc;
}

int
http_parse(char *buf, size_t n, struct http_request *r)
{
	size_t head = head_size(buf, n), length;
	char *end;
	int rc;

	if (head == 0)
		return n >= HEAD_MAX ? 413 : 0;
	if (head > HEAD_MAX)
		return 413;
	if (memchr(buf, '\0', head) != NULL)
		return 400;
	if ((rc = find_length(buf, head, &length)) != 200)
		return rc;
	if (length > HTTP_MAX - head)
		return 413;
	if (n - head < length)
		return 0;
	end = memchr(buf, '\n', head);
	*end = '\0';
	if (end > buf && end[-1] == '\r')
		end[-1] = '\0';
	r->body = buf + head;
	r->body_size = length;
	r->body[length] = '\0';
	return parse_first(buf, r);
}

static int
hex(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return at != NULL ? (int)((at - digits) % 16) : -1;
}

char *
http_query(const char *query, const char *name)
{
	size_t n = strlen(name), k;
	char *value, *out;

	while (strncmp(query, name, n) != 0 || query[n] != '=') {
		query += strcspn(query, "&");
		if (*query++ == '\0')
			return NULL;
	}
	query += n + 1;
	k = strcspn(query, "&");
	out = value = xmalloc(k + 1);
	for (; k > 0; k--, query++) {
		if (*query == '%' && k > 2 && hex(query[1]) >= 0 &&
		    hex(query[2]) >= 0) {
			*out++ = (char)(16 * hex(query[1]) + hex(query[2]));
			query += 2;
			k -= 2;
		} else
			*out++ = *query == '+' ? ' ' : *query;
	}
	*out = '\0';
	return value;
}

int
http_receive(int fd, char *buf, struct http_request *r)
{
	int64_t until = time_mono_ms() + TIMEOUT_MS;
	size_t n = 0;
	ssize_t k;
	int rc;

	while ((rc = http_parse(buf, n, r)) == 0) {
		k = read(fd, buf + n, HTTP_MAX - n);
		if (k > 0)
			n += (size_t)k;
		else if (k == 0 || (errno != EAGAIN && errno != EINTR) ||
		    !sock_await(fd, POLLIN, until))
			return -1;
	}
	return rc;
}

void
http_answer(int fd, int status, const char *type, const char *body, size_t n)
{
	char *head = xasprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\n"
	    "Content-Length: %zu\r\nConnection: close\r\n\r\n", status,
	    http_reason(status), type, n);
	int64_t until = time_mono_ms() + TIMEOUT_MS;

	if (sock_send(fd, head, strlen(head), until) == 0 &&
	    sock_send(fd, body, n, until) == 0)
		shutdown(fd, SHUT_WR);
	free(head);
}
