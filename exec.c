/* SPDX-License-Identifier: ISC */
/*
 * Children.  Whether one could be executed at all comes back through a pipe
 * that a successful exec closes.
 */
#include <sys/resource.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec.h"

extern char **environ;

/* One word from *s into out (as long as *s at least): 1; 0 none; -1 open. */
static int
next_word(const char **s, char *out)
{
	char quote = '\0';

	while (isspace((unsigned char)**s))
		(*s)++;
	if (**s == '\0')
		return 0;
	for (; **s != '\0'; (*s)++) {
		if (quote == '\0' && isspace((unsigned char)**s))
			break;
		if (quote == '\0' && (**s == '\'' || **s == '"')) {
			quote = **s;
			continue;
		}
		if (quote != '\0' && **s == quote) {
			quote = '\0';
			continue;
		}
		if (**s == '\\' && quote != '\'' && (*s)[1] != '\0' &&
		    (quote == '\0' || strchr("\"\\$`", (*s)[1]) != NULL))
			(*s)++;
		*out++ = **s;
	}
	*out = '\0';
	return quote == '\0' ? 1 : -1;
}

static void
free_words(char **words)
{
	size_t i;

	for (i = 0; words[i] != NULL; i++)
		free(words[i]);
	free(words);
}

static char **
split(const char *command, struct err *e)
{
	const char *s = command;
	char **words = NULL, *word;
	size_t n = 0, cap = 0;
	int rc;

	do {
		words = xgrow(words, n, &cap, sizeof *words);
		words[n] = NULL;
		word = xmalloc(strlen(s) + 1);
		if ((rc = next_word(&s, word)) == 1)
			words[n++] = word;
		else
			free(word);
	} while (rc == 1);
	if (rc == 0 && n > 0)
		return words;
	err_set(e, ERR_USAGE, "cannot parse exec command: %s", command);
	free_words(words);
	return NULL;
}

/* After fork() in a process with threads: nothing that may allocate. */
static void
child(char *const *words, char *const *env, const struct rlimit *files,
    int report)
{
	struct sigaction sa;
	sigset_t none;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), code;

	if (null >= 0)
		dup2(null, STDIN_FILENO);
	memset(&sa, 0, sizeof sa);
	sa.sa_handler = SIG_DFL;
	sigaction(SIGPIPE, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setrlimit(RLIMIT_NOFILE, files);
	if (env != NULL)
		execve(words[0], words, env);
	else
		execvp(words[0], words);
	code = errno;
	while (write(report, &code, sizeof code) < 0 && errno == EINTR)
		continue;
	_exit(127);
}

static int
spawn(char *const *words, char *const *env, const struct rlimit *files,
    pid_t *pid, struct err *e)
{
	int report[2], code = 0;
	ssize_t k;

	if (pipe(report) != 0)
		return err_sys(e, words[0], "pipe");
	fcntl(report[0], F_SETFD, FD_CLOEXEC);
	fcntl(report[1], F_SETFD, FD_CLOEXEC);
	*pid = fork();
	if (*pid == 0)
		child(words, env, files, report[1]);
	close(report[1]);
	do
		k = *pid > 0 ? read(report[0], &code, sizeof code) : 0;
	while (k < 0 && errno == EINTR);
	close(report[0]);
	if (*pid < 0)
		return err_sys(e, words[0], "fork");
	if (k == (ssize_t)sizeof code) {
		errno = code;
		return err_sys(e, words[0], "exec");
	}
	return 0;
}

int
exec_start(const char *command, const struct rlimit *files, pid_t *pid,
    struct err *e)
{
	char **words = split(command, e);
	int rc;

	if (words == NULL)
		return -1;
	rc = spawn(words, NULL, files, pid, e);
	free_words(words);
	return rc;
}

/* Whether a variable has the name of one of those. */
static bool
names_one(const char *variable, char *const *facts, size_t n)
{
	size_t name = strcspn(variable, "=");

	while (n-- > 0)
		if (strncmp(facts[n], variable, name + 1) == 0)
			return true;
	return false;
}

int
exec_shell(const char *command, char *const *facts, size_t n_facts,
    const struct rlimit *files, pid_t *pid, struct err *e)
{
	char *copy = xstrdup(command), **env;
	char *words[] = { "/bin/sh", "-c", copy, NULL };
	size_t n = 0, i, all = 0;
	int rc;

	while (environ[all] != NULL)
		all++;
	env = xcalloc(all + n_facts + 1, sizeof *env);
	for (i = 0; i < all; i++)
		if (!names_one(environ[i], facts, n_facts))
			env[n++] = environ[i];
	memcpy(env + n, facts, n_facts * sizeof *env);
	rc = spawn(words, env, files, pid, e);
	free(env);
	free(copy);
	return rc;
}
