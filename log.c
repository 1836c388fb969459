/* SPDX-License-Identifier: ISC */
/*
 * Log lines.  The only process-wide state of the program is here: the level,
 * the form, and where lines go, all set once at start.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "log.h"
#include "text.h"

static enum log_level verbosity = LOG_INFO;
static bool json;
static FILE *log_file;

void
log_set_level(const char *name)
{
	static const struct {
		const char *name;
		enum log_level level;
	} names[] = {
		{ "TRACE", LOG_TRACE }, { "DEBUG", LOG_DEBUG },
		{ "WARN", LOG_WARN }, { "WARNING", LOG_WARN },
		{ "ERROR", LOG_ERROR },
	};
	size_t i;

	verbosity = LOG_INFO;
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcasecmp(name, names[i].name) == 0)
			verbosity = names[i].level;
}

void
log_as_json(void)
{
	json = true;
}

void
log_to_stderr(void)
{
	log_file = stderr;
}

bool
log_enabled(enum log_level level)
{
	return level >= verbosity;
}

/* As Go's strconv.Quote where slog would quote, else the value itself. */
static void
print_value(FILE *f, const char *s)
{
	const char *p = s;
	bool quote = *p == '\0';
	size_t n;

	for (; *p != '\0' && !quote; p += n) {
		n = text_printable(p);
		quote = n == 0 || *p == ' ' || *p == '"' || *p == '=';
	}
	if (!quote) {
		fputs(s, f);
		return;
	}
	putc('"', f);
	for (p = s; *p != '\0'; p += n > 0 ? n : 1) {
		n = text_printable(p);
		if (*p == '"' || *p == '\\')
			fprintf(f, "\\%c", *p);
		else if (*p == '\n')
			fputs("\\n", f);
		else if (*p == '\t')
			fputs("\\t", f);
		else if (n == 0)
			fprintf(f, "\\x%02x", (unsigned char)*p);
		else
			fwrite(p, 1, n, f);
	}
	putc('"', f);
}

static void
print_time(FILE *f)
{
	struct timespec ts;
	struct tm tm;
	char day[40], zone[8];

	clock_gettime(CLOCK_REALTIME, &ts);
	if (localtime_r(&ts.tv_sec, &tm) == NULL)
		return;
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof zone, "%z", &tm);
	fprintf(f, "%s.%03ld", day, ts.tv_nsec / 1000000);
	if (strcmp(zone, "+0000") == 0)
		putc('Z', f);
	else
		fprintf(f, "%.3s:%s", zone, zone + 3);
}

/* A decimal integer as JSON has them, as which a TXID of 16 digits is not to be
 * taken. */
static bool
is_number(const char *s)
{
	size_t n;

	s += *s == '-';
	n = strspn(s, "0123456789");
	return s[n] == '\0' && n > 0 && n < 16 && (n == 1 || *s != '0');
}

static void
print_field(FILE *f, const char *key, const char *value)
{
	if (!json) {
		fprintf(f, " %s=", key);
		print_value(f, value);
		return;
	}
	putc(',', f);
	json_string(f, key);
	putc(':', f);
	if (is_number(value))
		fputs(value, f);
	else
		json_string(f, value);
}

void
log_line(enum log_level level, const char *msg, ...)
{
	static const char *const names[] = { "DEBUG-4", "DEBUG", "INFO",
	    "WARN", "ERROR" };
	FILE *f = log_file != NULL ? log_file : stdout;
	const char *key;
	va_list ap;

	if (!log_enabled(level))
		return;
	flockfile(f);
	fputs(json ? "{\"time\":\"" : "time=", f);
	print_time(f);
	if (json)
		putc('"', f);
	print_field(f, "level", names[level]);
	print_field(f, "msg", msg);
	va_start(ap, msg);
	while ((key = va_arg(ap, const char *)) != NULL)
		print_field(f, key, va_arg(ap, const char *));
	va_end(ap);
	fputs(json ? "}\n" : "\n", f);
	fflush(f);
	funlockfile(f);
}
