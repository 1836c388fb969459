/* SPDX-License-Identifier: ISC */
/*
 * The litestream command as a child of litestream-test: a restore, and the
 * list of files of which no transaction may be missing.
 */
#include <ctype.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_cmds.h"

#define SNAPSHOT_LEVEL 9
#define OUTPUT_SIZE 800		/* of a failed command, quoted in the error */
#define MAX_ARGS 10

extern char **environ;

struct file {
	int level;
	unsigned long long min, max;
};

/* Beside this program, if it is there; else what PATH has. */
char *
run_find(const char *self)
{
	char *dir, *tool = NULL;

	if (strchr(self, '/') != NULL) {
		dir = path_dir(self);
		tool = xasprintf("%s/litestream", dir);
		free(dir);
		if (access(tool, X_OK) == 0)
			return tool;
	}
	free(tool);
	return xstrdup("litestream");
}

/* Start argv with stdout, and maybe stderr, to be read from *out. */
static int
start(const char *const *argv, bool with_stderr, pid_t *pid, FILE **out,
    struct err *e)
{
	posix_spawn_file_actions_t actions;
	int fds[2], code;

	if (pipe(fds) != 0)
		return err_sys(e, argv[0], "pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	if (with_stderr)
		posix_spawn_file_actions_adddup2(&actions, fds[1],
		    STDERR_FILENO);
	posix_spawn_file_actions_addclose(&actions, fds[0]);
	posix_spawn_file_actions_addclose(&actions, fds[1]);
	/* POSIX has no const here, but leaves the strings alone. */
	code = posix_spawnp(pid, argv[0], &actions, NULL,
	    (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	if (code == 0 && (*out = fdopen(fds[0], "r")) != NULL)
		return 0;
	close(fds[0]);
	if (code == 0) {
		code = errno;
		waitpid(*pid, NULL, 0);
	}
	return err_set(e, ERR_SYSTEM, "%s: %s", argv[0], strerror(code));
}

/* Wait for the end; 0 if it was exit 0, else *e has text as the reason. */
static int
finish(const char *name, pid_t pid, FILE *out, const char *text,
    struct err *e)
{
	int status;

	fclose(out);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, name, "wait");
	if (WIFSIGNALED(status))
		return err_set(e, ERR_SYSTEM, "%s: killed by signal %d: %s",
		    name, WTERMSIG(status), text);
	if (WEXITSTATUS(status) != 0)
		return err_set(e, ERR_SYSTEM, "%s: exit status %d: %s", name,
		    WEXITSTATUS(status), text);
	return 0;
}

int
run_restore(const struct run *r, const char *restored, struct err *e)
{
	const char *argv[MAX_ARGS] = { r->tool, "restore" };
	char text[OUTPUT_SIZE], rest[OUTPUT_SIZE];
	struct stat st;
	size_t n = 2, len;
	pid_t pid;
	FILE *out;

	if (r->config[0] != '\0') {
		argv[n++] = "-config";
		argv[n++] = r->config;
	}
	argv[n++] = "-o";
	argv[n++] = restored;
	if (stat(restored, &st) == 0 && st.st_size > 0)
		argv[n++] = "-force";
	argv[n++] = r->config[0] != '\0' ? r->source : r->url;
	if (start(argv, true, &pid, &out, e) != 0)
		return -1;
	len = fread(text, 1, sizeof text - 1, out);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	text[len] = '\0';
	while (fread(rest, 1, sizeof rest, out) > 0)
		;
	if (finish("litestream restore", pid, out, text, e) != 0)
		return -1;
	if (stat(restored, &st) != 0)
		return err_sys(e, restored, "restored database");
	return 0;
}

static int
compare_ranges(const void *x, const void *y)
{
	const struct file *a = x, *b = y;

	if (a->min != b->min)
		return a->min < b->min ? -1 : 1;
	return a->max < b->max ? -1 : a->max > b->max;
}

static int
compare_files(const void *x, const void *y)
{
	const struct file *a = x, *b = y;

	if (a->level != b->level)
		return a->level < b->level ? -1 : 1;
	return compare_ranges(x, y);
}

/* All files that `litestream ltx` lists, sorted by level and TXID. */
static int
list_files(const struct run *r, struct file **files, size_t *n,
    struct err *e)
{
	const char *argv[MAX_ARGS] = { r->tool, "ltx" };
	size_t i = 2, cap = 0, size = 0;
	char *line = NULL;
	struct file f;
	pid_t pid;
	FILE *out;

	if (r->config[0] != '\0') {
		argv[i++] = "-config";
		argv[i++] = r->config;
	}
	argv[i++] = "-level";
	argv[i++] = "all";
	argv[i++] = r->config[0] != '\0' ? r->source : r->url;
	if (start(argv, false, &pid, &out, e) != 0)
		return -1;
	while (getline(&line, &size, out) >= 0) {
		if (sscanf(line, "%d %16llx %16llx ", &f.level, &f.min,
		    &f.max) != 3)
			continue;
		*files = xgrow(*files, *n, &cap, sizeof f);
		(*files)[(*n)++] = f;
	}
	free(line);
	if (*n > 0)
		qsort(*files, *n, sizeof f, compare_files);
	return finish("litestream ltx", pid, out, "failed to list LTX files",
	    e);
}

/* No hole within a level, but for what is older than any snapshot. */
static int
check_levels(const struct file *files, size_t n, struct err *e)
{
	unsigned long long floor = 0, end = 0;
	size_t i;

	for (i = n; i-- > 0 && files[i].level == SNAPSHOT_LEVEL;)
		if (floor == 0 || files[i].max < floor)
			floor = files[i].max;
	for (i = 0; i < n && files[i].level != SNAPSHOT_LEVEL; i++) {
		if (i == 0 || files[i].level != files[i - 1].level)
			end = files[i].max;
		else if (files[i].min > end + 1 && files[i].min > floor + 1)
			return err_set(e, ERR_DAMAGED, "level %d: TXIDs "
			    "%016llx to %016llx are missing", files[i].level,
			    end + 1, files[i].min - 1);
		else if (files[i].max > end)
			end = files[i].max;
	}
	return 0;
}

/* The levels together lead from the first TXID to the newest one. */
static int
check_chain(struct file *files, size_t n, struct err *e)
{
	unsigned long long have = 0;
	size_t i;

	qsort(files, n, sizeof *files, compare_ranges);
	for (i = 0; i < n; i++) {
		if (files[i].min > have + 1)
			return err_set(e, ERR_DAMAGED, "have up to TXID "
			    "%016llx but the next file starts at %016llx",
			    have, files[i].min);
		if (files[i].max > have)
			have = files[i].max;
	}
	return 0;
}

int
run_continuity(const struct run *r, struct err *e)
{
	struct file *files = NULL;
	size_t i, n = 0;
	int rc = list_files(r, &files, &n, e);

	if (rc == 0 && n == 0)
		rc = err_set(e, ERR_ABSENT, "no LTX files found");
	for (i = 0; i < n && rc == 0; i++)
		if (files[i].min == 0 || files[i].min > files[i].max ||
		    files[i].level < 0 || files[i].level > SNAPSHOT_LEVEL)
			rc = err_set(e, ERR_DAMAGED, "level %d: invalid "
			    "range %016llx to %016llx", files[i].level,
			    files[i].min, files[i].max);
	if (rc == 0)
		rc = check_levels(files, n, e);
	if (rc == 0)
		rc = check_chain(files, n, e);
	free(files);
	return rc;
}
