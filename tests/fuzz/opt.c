/* SPDX-License-Identifier: ISC */
/*
 * Command lines: arguments end with a NUL or newline each, the first one tells
 * the command.  The commands are the real ones up to the point where they
 * begin their work; an unknown one is a table with flags of all kinds, whose
 * values are written as flags and read again.  A control socket answers with
 * what stands behind a byte 1 in the input.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cmd.h"
#include "../../cmd_check.h"
#include "../../cmd_config.h"
#include "../../cmd_control.h"
#include "../../cmd_ltx.h"
#include "../../cmd_prune.h"
#include "../../cmd_replicate.h"
#include "../../cmd_restore.h"
#include "../../cmd_status.h"
#include "../../cmd_sync.h"
#include "../../cmd_verify.h"
#include "../../follow.h"
#include "../../http.h"
#include "../../keys.h"
#include "../../node.h"
#include "../../opt.h"
#include "../../probe.h"
#include "../../replicate.h"
#include "../../sock.h"
#include "../../status.h"
#include "../../verify.h"
#include "fuzz.h"

#define ARGS_MAX 24
#define INPUT_MAX 4096

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "replicate", cmd_replicate }, { "restore", cmd_restore },
	{ "ltx", cmd_ltx }, { "verify", cmd_verify }, { "prune", cmd_prune },
	{ "databases", cmd_databases }, { "check", cmd_check },
	{ "status", cmd_status }, { "sync", cmd_sync },
	{ "info", cmd_info }, { "list", cmd_list }, { "start", cmd_start },
	{ "stop", cmd_stop }, { "register", cmd_register },
	{ "unregister", cmd_unregister },
};

static int
not_here(struct err *e)
{
	return err_set(e, ERR_AWAY, "not here");
}

/* In place of those of the modules, which so stay out of the program. */
int
replicate_restore(const struct replicate_args *a, struct err *e)
{
	size_t i;

	for (i = 0; i < a->n; i++)
		MUST(a->job[i].pair.db_path[0] == '/' &&
		    a->job[i].pair.root[0] == '/');
	return not_here(e);
}

int
replicate_once(const struct replicate_args *a, struct err *e)
{
	(void)a;
	return not_here(e);
}

int
replicate_run(const struct replicate_args *a, int *status, struct err *e)
{
	(void)a;
	(void)status;
	return not_here(e);
}

int
restore_run(const struct restore_args *a, struct restore_result *res,
    struct err *e)
{
	(void)res;
	MUST(a->root[0] == '/' && (a->txid == 0 || !a->has_time));
	return not_here(e);
}

int
restore_plan(const struct restore_args *a, struct store_list *l,
    struct plan *p, struct err *e)
{
	(void)l;
	(void)p;
	MUST(a->root[0] == '/' && (a->txid == 0 || !a->has_time));
	return not_here(e);
}

int
verify_run(const struct verify_args *a, struct verify_report *r,
    struct err *e)
{
	(void)r;
	MUST(a->root[0] == '/' && (a->db == NULL || a->db[0] == '/'));
	return not_here(e);
}

void
verify_free(struct verify_report *r)
{
	(void)r;
}

int
follow_run(const struct restore_args *a, int64_t interval_ms,
    struct restore_result *res, struct err *e)
{
	(void)interval_ms;
	(void)res;
	MUST(a->root[0] == '/' && a->txid == 0 && !a->has_time);
	return not_here(e);
}

void
status_take(const struct status_args *a, struct status *s)
{
	memset(s, 0, sizeof *s);
	MUST(a->db[0] == '/' && a->interval_ms >= 0);
	(void)not_here(&s->why);
}

void
status_free(struct status *s)
{
	(void)s;
}

const char *
status_name(enum status_word w)
{
	(void)w;
	return "error";
}

void
probe_host(struct probe *p)
{
	(void)p;
}

void
probe_pair(struct probe *p, const struct pair_config *cf)
{
	(void)p;
	MUST(cf->db_path[0] == '/' && cf->root[0] == '/');
}

void
probe_error(struct probe *p, const struct err *e)
{
	p->failed = true;
	MUST(e->kind != ERR_NONE);
}

void
probe_free(struct probe *p)
{
	(void)p;
}

int
sock_connect(const char *path, int64_t timeout_ms, struct err *e)
{
	int fd = mem_open("/answer", O_RDONLY);

	(void)path;
	MUST(timeout_ms >= 0);
	return fd >= 0 ? fd : not_here(e);
}

/* One request, as the other end understands it. */
int
sock_write(const struct sock *s, const char *p, size_t n)
{
	const struct node *root;
	struct http_request r;
	struct node_file *f;
	struct err e;
	char *buf = xmalloc(n + 1);

	(void)s;
	memcpy(buf, p, n);
	MUST(http_parse(buf, n, &r) == 200);
	if (strcmp(r.method, "POST") == 0) {
		MUST(node_parse("body", r.body, r.body_size, &f, &root,
		    &e) == 0 && root->kind == NODE_MAP);
		MUST(node_get(root, "path")->text[0] == '/');
		node_free(f);
	}
	free(buf);
	return 0;
}

ssize_t
sock_read(const struct sock *s, void *p, size_t n)
{
	return mem_read(s->fd, p, n);
}

struct values {
	bool b;
	const char *s;
	int i;
	double f;
	int64_t d;
	uint64_t t;
};

static int
parse(struct values *v, int argc, char **argv, struct err *e)
{
	const struct opt opts[] = {
		{ "b", OPT_BOOL, &v->b }, { "string", OPT_STRING, &v->s },
		{ "i", OPT_INT, &v->i }, { "f", OPT_FLOAT, &v->f },
		{ "duration", OPT_DURATION, &v->d }, { "t", OPT_TXID, &v->t },
		{ NULL, OPT_BOOL, NULL }
	};

	*v = (struct values){ .s = "" };
	fuzz_clear(e);
	return opt_parse(opts, argc, argv, e);
}

static void
table(int argc, char **argv)
{
	char b[8], i[32], f[64], d[64], t[32], text[TEXT_SIZE];
	char *again[ARGS_MAX + 8] = { argv[0], b, i, f, d, t };
	struct values v, w;
	struct err e;
	int at, k, n = 6;

	at = parse(&v, argc, argv, &e);
	if (at == OPT_BAD)
		fuzz_error(&e, ERR_USAGE, NULL);
	if (at < 0)
		return;
	MUST(at >= 1 && at <= argc);
	snprintf(b, sizeof b, "-b=%d", v.b);
	snprintf(i, sizeof i, "--i=%d", v.i);
	snprintf(f, sizeof f, "-f=%.17g", v.f);
	snprintf(d, sizeof d, "-duration=%s", keys_duration(text, v.d));
	snprintf(t, sizeof t, "--t=%016" PRIx64, v.t);
	again[n++] = xasprintf("--string=%s", v.s);
	again[n++] = xstrdup("--");
	for (k = at; k < argc; k++)
		again[n++] = argv[k];
	MUST(parse(&w, n, again, &e) == 8);
	MUST(v.b == w.b && v.i == w.i && v.d == w.d && v.t == w.t);
	MUST(strcmp(v.s, w.s) == 0 && (v.f == w.f || v.f != v.f));
	free(again[6]);
	free(again[7]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char config[] =
	    "dbs: [{path: /a.db, replica: {path: /r}}, {dir: /d, "
	    "pattern: '*', replica: {url: 'file:///q'}}]\n";
	char *s, *end, *argv[ARGS_MAX + 1];
	const uint8_t *answer;
	int argc = 0, status;
	size_t i;

	if (n > INPUT_MAX)
		return 0;
	static bool buffered;

	if (!buffered)	/* what the commands print goes nowhere */
		setvbuf(stderr, NULL, _IOFBF, BUFSIZ);
	buffered = true;
	mem_limit(1 << 20);
	mem_reset();
	mem_put("/c.yml", config, sizeof config - 1);
	mem_put("/d/x.db", "SQLite format 3", 16);
	answer = memchr(p, '\001', n);
	if (answer != NULL) {
		mem_put("/answer", answer + 1, (size_t)(p + n - answer) - 1);
		n = (size_t)(answer - p);
	}
	s = malloc(n + 1);
	memcpy(s, p, n);
	s[n] = '\0';
	for (i = 0; i < n; i++)
		if (s[i] == '\n')
			s[i] = '\0';
	for (end = s; end < s + n && argc < ARGS_MAX; end += strlen(end) + 1)
		argv[argc++] = end;
	argv[argc] = NULL;
	log_set_level("");
	for (i = 0; i < sizeof commands / sizeof commands[0] && argc > 0; i++)
		if (strcmp(argv[0], commands[i].name) == 0)
			break;
	if (argc > 0 && i < sizeof commands / sizeof commands[0]) {
		status = commands[i].run(argc, argv);
		MUST(status >= CMD_OK && status <= CMD_FOREIGN);
	} else if (argc > 0)
		table(argc, argv);
	free(s);
	return 0;
}
