/* SPDX-License-Identifier: ISC */
/* The same with index and checksums put right before. */
#include <stdlib.h>

#include "fuzz.h"

#define INPUT_MAX 65536

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static uint8_t file[FORM_MAX(INPUT_MAX)];

	mem_limit(1 << 20);
	if (n <= INPUT_MAX)
		form_check(file, form_fix(p, n, file));
	return 0;
}
