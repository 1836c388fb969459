/* SPDX-License-Identifier: ISC */
/*
 * Linked into what is built with -fsanitize=thread, which runs a signal's
 * handler at the next call that it knows.  It does not know pselect(): we would
 * wait on, with a signal that has come and was never seen.
 */
#define _GNU_SOURCE

#include <sys/select.h>

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

int
pselect(int n, fd_set *in, fd_set *out, fd_set *ex,
    const struct timespec *wait, const sigset_t *mask)
{
	int (*next)(int, fd_set *, fd_set *, fd_set *,
	    const struct timespec *, const sigset_t *);
	struct timespec none = { 0, 0 };
	void *f = dlsym(RTLD_NEXT, "pselect");
	int rc, code;

	memcpy(&next, &f, sizeof next);
	rc = next(n, in, out, ex, wait, mask);
	code = errno;
	nanosleep(&none, NULL);		/* one that it knows */
	errno = code;
	return rc;
}
