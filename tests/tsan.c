/* SPDX-License-Identifier: ISC */
/*
 * Linked into what is built with -fsanitize=thread, which runs a signal's
 * handler at the next call that it knows.  It does not know pselect(): we would
 * wait on, with a signal that has come and was never seen.
 */
#define _GNU_SOURCE

#include <sys/select.h>
#include <sys/syscall.h>

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define SIGNAL_BYTES (_NSIG / 8)

int
pselect(int n, fd_set *in, fd_set *out, fd_set *ex,
    const struct timespec *wait, const sigset_t *mask)
{
	struct { const void *set; uintptr_t size; } m = { mask, SIGNAL_BYTES };
	struct timespec left, none = { 0, 0 };
	int rc, code;

	if (wait != NULL)
		left = *wait;
	rc = (int)syscall(SYS_pselect6, n, in, out, ex,
	    wait != NULL ? &left : NULL, &m);
	code = errno;
	nanosleep(&none, NULL);		/* one that it knows */
	errno = code;
	return rc;
}
