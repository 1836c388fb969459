/* SPDX-License-Identifier: ISC */
/*
 * HTTP requests: where one ends does not depend on the pieces it comes in, what
 * is taken from it is in it, and written anew it is the same.  Every parameter
 * of a query is what was encoded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../http.h"
#include "fuzz.h"

#define INPUT_MAX 4096

/* The status of its first n bytes, *copy being them; nothing behind them may be
 * touched but one byte. */
static int
parse(const uint8_t *p, size_t n, char **copy, struct http_request *r)
{
	int rc;

	*copy = xmalloc(n + 1);
	if (n > 0)
		memcpy(*copy, p, n);
	rc = http_parse(*copy, n, r);
	MUST(rc == 0 || strcmp(http_reason(rc), "Internal Server Error"));
	MUST(rc != 0 || n == 0 || memcmp(*copy, p, n) == 0);
	return rc;
}

static void
same(const struct http_request *a, const struct http_request *b)
{
	MUST(strcmp(a->method, b->method) == 0);
	MUST(strcmp(a->path, b->path) == 0);
	MUST(strcmp(a->query, b->query) == 0);
	MUST(a->body_size == b->body_size);
	MUST(memcmp(a->body, b->body, a->body_size) == 0);
}

static void
check(const char *copy, size_t n, const struct http_request *r)
{
	struct http_request s;
	char *head, *again;
	size_t k;

	MUST(r->method >= copy && r->path > r->method);
	MUST(r->path[0] == '/' && r->method[0] != '\0');
	MUST(strpbrk(r->method, " \n") == NULL);
	MUST(strpbrk(r->path, " \n?") == NULL);
	MUST(strpbrk(r->query, " \n") == NULL);
	MUST(r->body + r->body_size == copy + n);
	MUST(r->body[r->body_size] == '\0');
	head = xasprintf("%s %s?%s HTTP/1.0\nx: y\r\ncontent-length:\t%zu \r\n"
	    "\n", r->method, r->path, r->query, r->body_size);
	k = strlen(head);
	head = xrealloc(head, k + r->body_size + 1);
	memcpy(head + k, r->body, r->body_size);
	MUST(parse((uint8_t *)head, k + r->body_size, &again, &s) == 200);
	same(r, &s);
	free(again);
	free(head);
}

static void
query(const uint8_t *p, size_t n)
{
	char *s = xmalloc(3 * n + 16), *out = s, *value;
	size_t i;

	out += sprintf(out, "pa=1&&path=");
	for (i = 0; i < n && p[i] != '\0'; i++)
		if (p[i] == ' ')
			*out++ = '+';
		else if (strchr("%&+=", p[i]) != NULL || p[i] % 3 == 0)
			out += sprintf(out, p[i] % 2 ? "%%%02x" : "%%%02X",
			    p[i]);
		else
			*out++ = (char)p[i];
	strcpy(out, "&z");
	value = http_query(s, "path");
	MUST(value != NULL && strlen(value) == i);
	MUST(memcmp(value, p, i) == 0);
	free(value);
	MUST(http_query(s, "z") == NULL);
	free(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct http_request r, all;
	char *copy, *whole, *value;
	size_t k;
	int rc = 0;

	if (n > INPUT_MAX)
		return 0;
	for (k = 0; k <= n; k++) {
		if ((rc = parse(p, k, &copy, &r)) != 0)
			break;
		free(copy);
	}
	query(p, n);
	if (rc == 0)
		return 0;
	MUST(parse(p, n, &whole, &all) == rc);
	if (rc == 200) {
		check(copy, k, &r);
		same(&r, &all);
		value = http_query(r.query, "path");
		MUST(value == NULL || strlen(value) < strlen(r.query));
		free(value);
	}
	free(whole);
	free(copy);
	return 0;
}
