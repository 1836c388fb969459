/* SPDX-License-Identifier: ISC */
/*
 * Text for people and for JSON readers: UTF-8 without characters that are more
 * than characters.
 */
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "util.h"

/* Bytes of the UTF-8 character at p, and which one it is; 0: it is none. */
static size_t
utf8(const unsigned char *p, unsigned *c)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *p < 0x80 ? 1 : *p < 0xc0 ? 0 : *p < 0xe0 ? 2 :
	    *p < 0xf0 ? 3 : *p < 0xf8 ? 4 : 0, i;

	*c = n < 2 ? *p : *p & (0x7fu >> n);
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (p[i] & 0x3fu);
	}
	return *c < least[n] || *c > 0x10ffff ||
	    (*c >= 0xd800 && *c < 0xe000) ? 0 : n;
}

size_t
text_printable(const char *p)
{
	unsigned c;
	size_t n = utf8((const unsigned char *)p, &c);

	return c < ' ' || (c >= 0x7f && c < 0xa0) ||
	    (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ?
	    0 : n;
}

void
text_make_plain(char *s, size_t size)
{
	char *plain = xmalloc(size);
	const char *from = s;
	size_t n, at = 0;

	while (*from != '\0' && at + sizeof "\\xff" < size) {
		n = text_printable(from);
		if (n > 0)
			memcpy(plain + at, from, n);
		else
			snprintf(plain + at, size - at, "\\x%02x",
			    (unsigned char)*from);
		at += n > 0 ? n : 4;
		from += n > 0 ? n : 1;
	}
	memcpy(s, plain, at);
	s[at] = '\0';
	free(plain);
}

char *
text_i64(char *buf, int64_t v)
{
	snprintf(buf, TEXT_SIZE, "%lld", (long long)v);
	return buf;
}

char *
text_txid(char *buf, uint64_t txid)
{
	snprintf(buf, TEXT_SIZE, "%016llx", (unsigned long long)txid);
	return buf;
}

void
json_string(FILE *f, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned c;
	size_t n;

	putc('"', f);
	for (; *p != '\0'; p += n > 0 ? n : 1) {
		n = utf8(p, &c);
		if (*p == '"' || *p == '\\')
			fprintf(f, "\\%c", *p);
		else if (*p == '\n')
			fputs("\\n", f);
		else if (*p == '\r')
			fputs("\\r", f);
		else if (*p == '\t')
			fputs("\\t", f);
		else if (n == 0)
			fputs("\\ufffd", f);
		else if (text_printable((const char *)p) == 0 ||
		    strchr("<>&", *p) != NULL)
			fprintf(f, "\\u%04x", c);
		else
			fwrite(p, 1, n, f);
	}
	putc('"', f);
}
