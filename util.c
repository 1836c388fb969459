/* SPDX-License-Identifier: ISC */
/* Errors, memory, time, paths and what a system gives. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

#define TM_YEAR_0 1900

#ifdef CLOCK_BOOTTIME
#define CLOCK_SINCE_BOOT CLOCK_BOOTTIME
#else
#define CLOCK_SINCE_BOOT CLOCK_MONOTONIC
#endif

int
err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;

	e->kind = kind;
	e->code = 0;
	e->hint[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	text_make_plain(e->text, sizeof e->text);
	return -1;
}

int
err_sys(struct err *e, const char *path, const char *what)
{
	int code = errno;
	enum err_kind kind = ERR_SYSTEM;

	if (code == ENOENT)
		kind = ERR_ABSENT;
	else if (code == ENOSPC || code == EDQUOT)
		kind = ERR_FULL;
	err_set(e, kind, "%s: %s: %s", path, what, strerror(code));
	e->code = code;
	return -1;
}

void
err_hint(struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->hint, sizeof e->hint, fmt, ap);
	va_end(ap);
	text_make_plain(e->hint, sizeof e->hint);
}

static void *
checked(void *p)
{
	if (p == NULL) {
		fputs("Error: out of memory\n", stderr);
		_exit(1);
	}
	return p;
}

void *
xmalloc(size_t n)
{
	return checked(malloc(n != 0 ? n : 1));
}

void *
xcalloc(size_t n, size_t size)
{
	return checked(calloc(n != 0 ? n : 1, size));
}

void *
xrealloc(void *p, size_t n)
{
	return checked(realloc(p, n != 0 ? n : 1));
}

void *
xgrow(void *p, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	if (*cap > SIZE_MAX / 2 / size)
		checked(NULL);
	*cap = *cap != 0 ? 2 * *cap : 16;
	return xrealloc(p, *cap * size);
}

char *
xstrdup(const char *s)
{
	return checked(strdup(s));
}

char *
xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	s = xmalloc((size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(s, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return s;
}

static int64_t
clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
time_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t
time_mono_ms(void)
{
	return clock_ms(CLOCK_SINCE_BOOT);
}

void
sleep_ms(int64_t ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

bool
raise_descriptors(struct rlimit *was)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
		return false;
	if (was != NULL)
		*was = lim;
	if (lim.rlim_cur == lim.rlim_max)
		return false;
	lim.rlim_cur = lim.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &lim) == 0;
}

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar. */
static int64_t
days_of(int64_t y, int m, int d)
{
	int64_t era, doy, yoe;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

char *
time_text(char buf[TEXT_SIZE], int64_t ms, bool with_ms)
{
	int64_t rest = ms % 1000;
	time_t t = (time_t)(ms / 1000 - (rest < 0));
	struct tm tm;
	size_t n;

	if (rest < 0)
		rest += 1000;
	if (gmtime_r(&t, &tm) == NULL) {
		snprintf(buf, TEXT_SIZE, "%lld ms", (long long)ms);
		return buf;
	}
	/* Not %Y, which need not have four digits. */
	n = (size_t)snprintf(buf, TEXT_SIZE, "%04lld",
	    (long long)tm.tm_year + TM_YEAR_0);
	strftime(buf + n, TEXT_SIZE - n, "-%m-%dT%H:%M:%S", &tm);
	if (with_ms)
		snprintf(buf + strlen(buf), TEXT_SIZE - strlen(buf),
		    ".%03d", (int)rest);
	snprintf(buf + strlen(buf), TEXT_SIZE - strlen(buf), "Z");
	return buf;
}

/* Exactly n digits at *s, which moves on; -1 if they are not there. */
static int
digits(const char **s, int n)
{
	int v = 0;

	for (; n > 0; n--, (*s)++) {
		if (!isdigit((unsigned char)**s))
			return -1;
		v = v * 10 + (**s - '0');
	}
	return v;
}

static bool
skip(const char **s, const char *any)
{
	if (**s == '\0' || strchr(any, **s) == NULL)
		return false;
	(*s)++;
	return true;
}

/* "Z" or "+hh:mm" to seconds east of Greenwich. */
static int
parse_zone(const char *s, int64_t *east)
{
	int sign, h, m;

	if ((*s == 'Z' || *s == 'z') && s[1] == '\0') {
		*east = 0;
		return 0;
	}
	sign = *s == '-' ? -1 : 1;
	if (!skip(&s, "+-") || (h = digits(&s, 2)) < 0 || !skip(&s, ":") ||
	    (m = digits(&s, 2)) < 0 || *s != '\0' || h > 23 || m > 59)
		return -1;
	*east = sign * (h * 3600 + m * 60);
	return 0;
}

int
time_parse(const char *s, int64_t *ms)
{
	static const int length[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31,
	    30, 31 };
	int y, mo, d, h, mi, sec, scale = 100;
	int64_t east, frac = 0;

	if ((y = digits(&s, 4)) < 0 || !skip(&s, "-") ||
	    (mo = digits(&s, 2)) < 1 || mo > 12 || !skip(&s, "-") ||
	    (d = digits(&s, 2)) < 1 || d > length[mo - 1] ||
	    !skip(&s, "Tt") ||
	    (h = digits(&s, 2)) < 0 || h > 23 || !skip(&s, ":") ||
	    (mi = digits(&s, 2)) < 0 || mi > 59 || !skip(&s, ":") ||
	    (sec = digits(&s, 2)) < 0 || sec > 60)
		return -1;
	if (mo == 2 && d == 29 && (y % 4 != 0 || (y % 100 == 0 && y % 400)))
		return -1;
	if (skip(&s, ".,")) {
		if (!isdigit((unsigned char)*s))
			return -1;
		for (; isdigit((unsigned char)*s); s++, scale /= 10)
			frac += (*s - '0') * scale;
	}
	if (parse_zone(s, &east) != 0)
		return -1;
	*ms = ((days_of(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - east) *
	    1000) + frac;
	return 0;
}

/* One "number unit" of a duration in ms; *s moves on. */
static int
duration_part(const char **s, double *ms)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {	/* longer names first where one begins another */
		{ "ns", 1e-6 }, { "us", 1e-3 }, { "\xc2\xb5s", 1e-3 },
		{ "ms", 1 }, { "s", 1e3 }, { "m", 60e3 }, { "h", 3600e3 },
	};
	double v = 0, scale = 1;
	bool any = false;
	size_t i, n;

	for (; isdigit((unsigned char)**s); (*s)++, any = true)
		v = v * 10 + (**s - '0');
	if (skip(s, "."))
		for (; isdigit((unsigned char)**s); (*s)++, any = true)
			v += (**s - '0') * (scale /= 10);
	for (i = 0; any && i < sizeof units / sizeof units[0]; i++) {
		n = strlen(units[i].unit);
		if (strncmp(*s, units[i].unit, n) == 0) {
			*s += n;
			*ms += v * units[i].ms;
			return 0;
		}
	}
	return -1;
}

int
duration_parse(const char *s, int64_t *ms)
{
	bool negative = *s == '-';
	double sum = 0;

	skip(&s, "+-");
	if (strcmp(s, "0") == 0) {
		*ms = 0;
		return 0;
	}
	if (*s == '\0')
		return -1;
	while (*s != '\0')
		if (duration_part(&s, &sum) != 0)
			return -1;
	if (sum > 9e15)
		return -1;
	*ms = llround(negative ? -sum : sum);
	return 0;
}

/* Removes empty, "." and ".." components of an absolute path in place. */
static void
clean(char *path)
{
	char *in = path, *out = path;
	size_t n;

	while (*in != '\0') {
		while (*in == '/')
			in++;
		n = strcspn(in, "/");
		if (n == 2 && in[0] == '.' && in[1] == '.') {
			while (out > path && *--out != '/')
				continue;
		} else if (n != 0 && !(n == 1 && in[0] == '.')) {
			*out++ = '/';
			memmove(out, in, n);
			out += n;
		}
		in += n;
	}
	if (out == path)
		*out++ = '/';
	*out = '\0';
}

char *
path_abs(const char *path)
{
	const char *home = getenv("HOME");
	char cwd[PATH_MAX], *s;

	if (home != NULL && path[0] == '~' &&
	    (path[1] == '\0' || path[1] == '/'))
		s = xasprintf("%s%s", home, path + 1);
	else if (path[0] == '/')
		s = xstrdup(path);
	else
		s = getcwd(cwd, sizeof cwd) != NULL ?
		    xasprintf("%s/%s", cwd, path) : xstrdup(path);
	if (s[0] == '/')
		clean(s);
	return s;
}

char *
path_dir(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t n;
	char *s;

	if (slash == NULL)
		return xstrdup(".");
	n = slash == path ? 1 : (size_t)(slash - path);
	s = xmalloc(n + 1);
	memcpy(s, path, n);
	s[n] = '\0';
	return s;
}

const char *
path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

void
random_bytes(void *p, size_t n)
{
	char *at = p;
	ssize_t k;
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && n > 0) {
		k = read(fd, at, n);
		if (k <= 0 && errno != EINTR)
			break;
		if (k > 0) {
			at += k;
			n -= (size_t)k;
		}
	}
	if (fd < 0 || n > 0) {
		fputs("Error: /dev/urandom: cannot read\n", stderr);
		_exit(1);
	}
	close(fd);
}

void
boot_id(char id[BOOT_ID_SIZE])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");

	if (f == NULL || fgets(id, BOOT_ID_SIZE, f) == NULL)
		id[0] = '\0';
	id[strcspn(id, " \n")] = '\0';
	if (f != NULL)
		fclose(f);
}
