/* SPDX-License-Identifier: ISC */
/* Files of a replica, as a table or as JSON, on stdout. */
#ifndef LISTING_H
#define LISTING_H

#include <stdbool.h>
#include <stddef.h>

#include "store.h"

/* The first n of l; with pick those n, as a plan: with their names. */
void	listing_table(const struct store_list *l, const size_t *pick,
	    size_t n);
/* One, without a newline at its end. */
void	listing_json(const struct store_file *f, const char *indent,
	    bool with_name);
/* A column of text. */
void	listing_cell(const char *s, size_t width);

#endif
