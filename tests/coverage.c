/* SPDX-License-Identifier: ISC */
/*
 * Linked into the programs of coverage.sh: what ends by _exit is counted, too,
 * and shim.c lets what gcov does at the end alone.
 */
#include <gcov.h>
#include <unistd.h>

#undef _exit

extern void shim_rest(void) __attribute__((weak));
_Noreturn void coverage_exit(int);

__attribute__((destructor))
static void
rest(void)
{
	if (shim_rest != NULL)
		shim_rest();
}

void
coverage_exit(int status)
{
	rest();
	__gcov_dump();
	_exit(status);
}
