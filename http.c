/* SPDX-License-Identifier: ISC */
/*
 * HTTP.
 *
 * A head is lines that end with \n or \r\n, up to an empty one.  Of its fields
 * only Content-Length matters; one that is there twice, or a body whose end
 * only its own bytes tell (Transfer-Encoding), is refused, so that there is one
 * reading of where a request ends.  A connection is closed after its answer.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http.h"

#define HEAD_MAX 8192

const char *
http_reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {
		{ 200, "OK" }, { 400, "Bad Request" }, { 404, "Not Found" },
		{ 405, "Method Not Allowed" }, { 409, "Conflict" },
		{ 413, "Request Entity Too Large" },
		{ 501, "Not Implemented" }, { 503, "Service Unavailable" },
	};
	size_t i;

	for (i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Internal Server Error";
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

/* The length that a field of the head gives, which ends with a \n. */
static bool
parse_length(const char *s, size_t *length)
{
	*length = 0;
	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++)
		if (*length <= HTTP_MAX)
			*length = 10 * *length + (size_t)(*s - '0');
	return s[strspn(s, " \t\r")] == '\n';
}

/* The length of the body that a head tells of, behind its first line. */
static int
find_length(const char *line, size_t *length)
{
	static const char name[] = "Content-Length:", chunks[] =
	    "Transfer-Encoding:";
	bool given = false;
	size_t k;

	*length = 0;
	for (; *line != '\n' && (line[0] != '\r' || line[1] != '\n');
	    line = strchr(line, '\n') + 1) {
		k = strcspn(line, " \t\r\n:");
		if (k == 0 || line[k] != ':')
			return 400;
		if (strncasecmp(line, chunks, sizeof chunks - 1) == 0)
			return 501;
		if (strncasecmp(line, name, sizeof name - 1) != 0)
			continue;
		line += sizeof name - 1;
		line += strspn(line, " \t");
		if (given || !parse_length(line, length))
			return 400;
		given = true;
	}
	return 200;
}

/* Ends s at the first c: what stands behind it, NULL if there is none. */
static char *
cut(char *s, char c)
{
	s = strchr(s, c);
	if (s != NULL)
		*s++ = '\0';
	return s;
}

/* METHOD PATH?QUERY HTTP/1.x */
static int
parse_first(char *line, struct http_request *r)
{
	char *path = cut(line, ' '), *version, *query;
	size_t n;

	if (path == NULL || path == line + 1 || path[0] != '/' ||
	    (version = cut(path, ' ')) == NULL)
		return 400;
	n = strlen(version);
	if (n > 0 && version[n - 1] == '\r')
		version[n - 1] = '\0';
	if (strcmp(version, "HTTP/1.1") != 0 &&
	    strcmp(version, "HTTP/1.0") != 0)
		return 400;
	query = cut(path, '?');
	r->method = line;
	r->path = path;
	r->query = query != NULL ? query : "";
	return 200;
}

int
http_parse(char *buf, size_t n, struct http_request *r)
{
	size_t head = head_size(buf, n), length;
	int rc;

	if (head == 0)
		return n >= HEAD_MAX ? 413 : 0;
	if (head > HEAD_MAX)
		return 413;
	if (memchr(buf, '\0', head) != NULL)
		return 400;
	/* Each search below ends at a \n of the head. */
	if ((rc = find_length(strchr(buf, '\n') + 1, &length)) != 200)
		return rc;
	if (length > HTTP_MAX - head)
		return 413;
	if (n - head < length)
		return 0;
	r->body = buf + head;
	r->body_size = length;
	r->body[length] = '\0';
	cut(buf, '\n');
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
	size_t n = strlen(name);
	char *value, *out;

	while (strncmp(query, name, n) != 0 || query[n] != '=') {
		query += strcspn(query, "&");
		if (*query++ == '\0')
			return NULL;
	}
	query += n + 1;
	out = value = xmalloc(strlen(query) + 1);
	for (; *query != '\0' && *query != '&'; query++)
		if (*query == '%' && hex(query[1]) >= 0 &&
		    hex(query[2]) >= 0) {
			*out++ = (char)(16 * hex(query[1]) + hex(query[2]));
			query += 2;
		} else
			*out++ = *query == '+' ? ' ' : *query;
	*out = '\0';
	return value;
}

int
http_receive(const struct sock *s, char *buf, struct http_request *r)
{
	size_t n = 0;
	ssize_t k;
	int rc;

	while ((rc = http_parse(buf, n, r)) == 0) {
		if ((k = sock_read(s, buf + n, HTTP_MAX - n)) <= 0)
			return -1;
		n += (size_t)k;
	}
	return rc;
}

void
http_answer(const struct sock *s, int status, const char *type,
    const char *body, size_t n)
{
	char *head = xasprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\n"
	    "Content-Length: %zu\r\nConnection: close\r\n\r\n", status,
	    http_reason(status), type, n);

	if (sock_write(s, head, strlen(head)) == 0)
		sock_write(s, body, n);
	free(head);
}
