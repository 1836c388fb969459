/* SPDX-License-Identifier: ISC */
/* What Prometheus asks for, in its text format 0.0.4. */
#ifndef METRICS_H
#define METRICS_H

#include <stdio.h>

#include "fleet.h"

void	metrics_write(FILE *out, struct fleet *f);

#endif
