/* SPDX-License-Identifier: ISC */
/* What the files of a replica say together. */
#ifndef FINDINGS_H
#define FINDINGS_H

#include "store.h"
#include "verify.h"

/*
 * Gaps, links, points, problems and notes of r, and whether it is damaged, anew
 * from its files; l has the same files, bad where r says why.
 */
void	findings_look(const char *root, const struct store_list *l,
	    struct verify_report *r);
/* Adds to the problems; takes line, which is malloc'd. */
void	findings_problem(struct verify_report *r, char *line);
/* Frees all that findings_look() made but the gaps. */
void	findings_clear(struct verify_report *r);

#endif
