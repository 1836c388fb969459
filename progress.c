/* SPDX-License-Identifier: ISC */
/* One line on a terminal that says how far a long read has come. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "progress.h"
#include "util.h"

#define CALLS 256		/* between looks at the clock */
#define FIRST_MS 1000
#define EACH_MS 200

void
progress_init(struct progress *g, bool wanted)
{
	memset(g, 0, sizeof(*g));
	g->on = wanted && isatty(STDERR_FILENO);
	g->start_ms = time_mono_ms();
}

void
progress_show(struct progress *g, uint64_t bytes)
{
	int64_t now, took;
	uint64_t rate, done;

	if (!g->on || ++g->calls % CALLS != 0)
		return;
	now = time_mono_ms();
	took = now - g->start_ms;
	if (took < FIRST_MS || now - g->last_ms < EACH_MS)
		return;
	g->last_ms = now;
	g->shown = true;
	done = g->before + bytes;
	rate = done * 1000 / (uint64_t)took;
	fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " MB, %" PRIu64
	    " MB/s, %" PRIu64 " s left   ", done / 1000000,
	    g->total / 1000000, rate / 1000000,
	    g->total > done && rate > 0 ? (g->total - done) / rate : 0);
	fflush(stderr);
}

void
progress_end(struct progress *g)
{
	if (g->shown)
		fputs("\r\033[K", stderr);
	g->shown = false;
}
