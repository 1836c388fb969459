/* SPDX-License-Identifier: ISC */
/* One line on a terminal that says how far a long read has come. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool on, shown;
	uint64_t before, total;	/* bytes of the files done, of all */
	int64_t start_ms, last_ms;
	unsigned calls;
};

/* wanted: on standard error, if that is a terminal. */
void	progress_init(struct progress *g, bool wanted);
/* bytes: of the present file.  Cheap enough for each page. */
void	progress_show(struct progress *g, uint64_t bytes);
/* Wipes the line, so that others can be printed. */
void	progress_end(struct progress *g);

#endif
