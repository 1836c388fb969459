/* SPDX-License-Identifier: ISC */
/* Files of a replica, as a table or as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "listing.h"

#define GAP 2			/* spaces between columns */
#define NAME_SIZE 38		/* MIN-MAX.ltx and its end */

void
listing_cell(const char *s, size_t width)
{
	printf("%-*s", (int)(width + GAP), s);
}

static int64_t
file_time(const struct store_file *f)
{
	return f->bad ? f->mtime_ms : f->h.timestamp_ms;
}

/* Width of a column of sizes under its title. */
static size_t
size_width(const struct store_list *l, const size_t *pick, size_t n)
{
	char text[TEXT_SIZE];
	size_t i, w = strlen("size"), k;

	for (i = 0; i < n; i++) {
		k = strlen(text_i64(text,
		    (int64_t)l->file[pick != NULL ? pick[i] : i].size));
		w = k > w ? k : w;
	}
	return w;
}

static void
file_name(char name[NAME_SIZE], const struct store_file *f)
{
	snprintf(name, NAME_SIZE, "%016" PRIx64 "-%016" PRIx64 ".ltx",
	    f->min_txid, f->max_txid);
}

void
listing_table(const struct store_list *l, const size_t *pick, size_t n)
{
	char name[NAME_SIZE], when[TEXT_SIZE];
	const struct store_file *f;
	size_t i, w = size_width(l, pick, n), w_txid = 0;

	w_txid = n > 0 ? strlen(TXID(0)) : strlen("min_txid");
	printf("level  ");
	if (pick != NULL)
		listing_cell("file", NAME_SIZE - 1);
	listing_cell("min_txid", w_txid);
	listing_cell("max_txid", w_txid);
	listing_cell("size", w);
	puts(pick != NULL ? "timestamp" : "created");
	for (i = 0; i < n; i++) {
		f = &l->file[pick != NULL ? pick[i] : i];
		file_name(name, f);
		printf("%-7d", f->level);
		if (pick != NULL)
			listing_cell(name, NAME_SIZE - 1);
		listing_cell(TXID(f->min_txid), w_txid);
		listing_cell(TXID(f->max_txid), w_txid);
		listing_cell(I64(f->size), w);
		puts(time_text(when, file_time(f), false));
	}
}

void
listing_json(const struct store_file *f, const char *indent,
    bool with_name)
{
	char name[NAME_SIZE], when[TEXT_SIZE];

	printf("%s{\n%s  \"level\": %d,\n", indent, indent, f->level);
	file_name(name, f);
	if (with_name)
		printf("%s  \"name\": \"%s\",\n", indent, name);
	printf("%s  \"min_txid\": \"%s\",\n%s  \"max_txid\": \"%s\",\n", indent,
	    TXID(f->min_txid), indent, TXID(f->max_txid));
	printf("%s  \"size\": %" PRIu64 ",\n%s  \"timestamp\": \"%s\"\n%s}",
	    indent, f->size, indent, time_text(when, file_time(f), false),
	    indent);
}
