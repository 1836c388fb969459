/* SPDX-License-Identifier: ISC */
/* Any bytes as an LTX file. */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	mem_limit(1 << 20);
	form_check(p, n);
	return 0;
}
