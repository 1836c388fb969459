/* SPDX-License-Identifier: ISC */
/*
 * The control socket: paths, JSON and texts are upstream's.
 *
 *	GET /info	GET /list	GET /txid?path=P	GET /metrics
 *	POST /sync {"path", "wait", "timeout"}	POST /start {"path", "timeout"}
 *	POST /stop {"path", "timeout"}		POST /unregister, the same
 *	POST /register {"path", "replica_url"}
 *
 * Who may open the socket may have any file of ours replicated: its mode is all
 * the protection that there is.  The TCP listener has GET /metrics alone.
 *
 * Each listener has some threads, each of which serves one connection at a
 * time, so there are never more than that.  Requests that wait for a database
 * may wait for long: they get 503 before they would be all, so that there is
 * always an answer to the others.  A pipe whose other end is closed tells all
 * threads to end.
 *
 * A client is not trusted with our time: what it sends and reads has a bound.
 */
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "control.h"
#include "http.h"
#include "metrics.h"
#include "node.h"
#include "operand.h"
#include "setup.h"
#include "store.h"

#define SOCKET_THREADS 16
#define WAITERS 12		/* of them, for databases */
#define METRICS_THREADS 2
#define TIMEOUT_S 30
#define CLIENT_MS 5000		/* for a request, and for its answer */
#define FULL_MS 100		/* after a connection that could not be had */

struct listener {
	struct control *control;
	int fd;			/* -1: none */
	bool metrics_only;
};

struct control {
	const struct config *config;
	struct fleet *fleet;
	const char *version;
	int64_t start_ms, start_wall_ms;
	struct listener socket, metrics;
	struct stat file;	/* of the socket */
	int stop[2];
	atomic_uint waiting;
	pthread_t thread[SOCKET_THREADS + METRICS_THREADS];
	size_t threads;
};

/* A request, and the body of its answer. */
struct call {
	struct control *c;
	struct http_request r;
	const char *type;
	FILE *out;

	/* What the body of a POST asks for. */
	char *path, *url;
	int64_t timeout_s;
	bool wait;
};

static int
fail(struct call *x, int status, const char *details, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int
fail(struct call *x, int status, const char *details, const char *fmt, ...)
{
	char text[sizeof ((struct err *)0)->text + 64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fputs("{\"error\":", x->out);
	json_string(x->out, text);
	if (details != NULL) {
		fputs(",\"details\":", x->out);
		json_string(x->out, details);
	}
	fputs("}\n", x->out);
	return status;
}

/* {"status":"...","path":"...","txid":N} */
static int
say(struct call *x, const char *status, const char *path, const uint64_t *txid)
{
	fputs("{\"status\":", x->out);
	json_string(x->out, status);
	fputs(",\"path\":", x->out);
	json_string(x->out, path);
	if (txid != NULL)
		fprintf(x->out, ",\"txid\":%" PRIu64, *txid);
	fputs("}\n", x->out);
	return 200;
}

static int
get_info(struct call *x)
{
	const struct control *c = x->c;
	struct fleet_report *l;
	char at[TEXT_SIZE];
	size_t n;

	l = fleet_list(c->fleet, &n);
	fleet_list_free(l, n);
	fputs("{\"version\":", x->out);
	json_string(x->out, c->version);
	fprintf(x->out, ",\"pid\":%ld,\"uptime_seconds\":%" PRId64
	    ",\"started_at\":\"%s\",\"database_count\":%zu}\n",
	    (long)getpid(), (time_mono_ms() - c->start_ms) / 1000,
	    time_text(at, c->start_wall_ms, true), n);
	return 200;
}

static int
get_list(struct call *x)
{
	static const char *const state[] = {
		[FLEET_RUNNING] = "replicating", [FLEET_STOPPING] = "open",
		[FLEET_STOPPED] = "stopped", [FLEET_ENDING] = "open"
	};
	struct fleet_report *l;
	int64_t passed;
	char at[TEXT_SIZE];
	size_t i, n;

	l = fleet_list(x->c->fleet, &n);
	fputs("{\"databases\":[", x->out);
	for (i = 0; i < n; i++) {
		fputs(i > 0 ? ",{\"path\":" : "{\"path\":", x->out);
		json_string(x->out, l[i].path);
		fprintf(x->out, ",\"status\":\"%s\"", state[l[i].state]);
		passed = l[i].job.facts.pass_ms;
		if (passed != 0)
			fprintf(x->out, ",\"last_sync_at\":\"%s\"",
			    time_text(at, time_wall_ms() - time_mono_ms() +
			    passed, true));
		fputs("}", x->out);
	}
	fputs("]}\n", x->out);
	fleet_list_free(l, n);
	return 200;
}

static int
get_txid(struct call *x)
{
	char *given = http_query(x->r.query, "path"), *path;
	struct fleet_report r;
	int status = 200;

	path = operand_db(given != NULL ? given : "");
	if (given == NULL || given[0] == '\0')
		status = fail(x, 400, NULL, "path required");
	else if (!fleet_find(x->c->fleet, path, &r))
		status = fail(x, 404, NULL, "database not found");
	else
		fprintf(x->out, "{\"txid\":%" PRIu64 "}\n",
		    r.job.facts.txid);
	free(path);
	free(given);
	return status;
}

static int
get_metrics(struct call *x)
{
	x->type = "text/plain; version=0.0.4; charset=utf-8";
	metrics_write(x->out, x->c->fleet);
	return 200;
}

static int
post_sync(struct call *x)
{
	struct fleet_report before, after;
	struct err e;

	if (!fleet_find(x->c->fleet, x->path, &before))
		return fail(x, 404, NULL, "database not found: %s", x->path);
	if (ask_sync(x->c->fleet, x->path, x->timeout_s > 0 ? x->timeout_s :
	    TIMEOUT_S, &after, &e) != 0)
		return e.kind == ERR_ABSENT ? fail(x, 404, NULL, "%s", e.text) :
		    e.kind == ERR_LOCKED ? fail(x, 409, NULL, "%s", e.text) :
		    fail(x, 500, NULL, "sync database: %s", e.text);
	fprintf(x->out, "{\"status\":\"%s\",\"path\":",
	    after.job.facts.txid == before.job.facts.txid ? "no_change" :
	    x->wait ? "synced" : "synced_local");
	json_string(x->out, x->path);
	fprintf(x->out, ",\"txid\":%" PRIu64 ",\"replicated_txid\":%" PRIu64
	    "}\n", after.job.facts.txid, after.job.facts.txid);
	return 200;
}

static int
post_start(struct call *x)
{
	struct fleet_report r;
	struct err e;

	if (!fleet_find(x->c->fleet, x->path, &r))
		return fail(x, 500, NULL, "database not found: %s", x->path);
	if (r.state == FLEET_RUNNING)
		return say(x, "already_running", x->path, &r.job.facts.txid);
	if (fleet_restart(x->c->fleet, x->path, &e) != 0)
		return fail(x, 500, NULL, "open database: %s", e.text);
	return say(x, "started", x->path, &r.job.facts.txid);
}

static int
post_stop(struct call *x)
{
	struct fleet_report r;
	struct err e;

	if (!fleet_find(x->c->fleet, x->path, &r))
		return fail(x, 500, NULL, "database not found: %s", x->path);
	if (r.state == FLEET_STOPPED)
		return say(x, "already_stopped", x->path, &r.job.facts.txid);
	if (ask_stop(x->c->fleet, x->path, x->timeout_s != 0 ?
	    x->timeout_s : TIMEOUT_S, &r, &e) != 0)
		return fail(x, 500, NULL, "close database: %s", e.text);
	return say(x, "stopped", x->path, &r.job.facts.txid);
}

/* The path of a replica's URL is root. */
static int
add(struct call *x, char *root, struct err *e)
{
	const struct config *c = x->c->config;
	struct config_db d = { .path = x->path, .root = root,
	    .audit = c->audit, .sync = c->sync };
	struct job_config cf;
	int rc;

	setup_job(&cf, c, &d);
	cf.persistent = cf.asked_for = true;
	rc = fleet_add(x->c->fleet, &cf, e);
	if (rc == 0)
		log_line(LOG_INFO, "database registered", "path", x->path,
		    "replica", root, NULL);
	return rc;
}

static int
post_register(struct call *x)
{
	struct fleet_report r;
	struct err e;
	char *root;
	int rc;

	if (x->url == NULL || x->url[0] == '\0')
		return fail(x, 400, NULL, "replica_url required");
	if (fleet_find(x->c->fleet, x->path, &r))
		return say(x, "already_registered", x->path, NULL);
	if ((root = store_url_path(x->url, &e)) == NULL)
		return fail(x, 400, NULL, "invalid replica url: %s", e.text);
	rc = add(x, root, &e);
	free(root);
	if (rc != 0)
		return fail(x, 500, NULL, "failed to register database: %s",
		    e.text);
	return say(x, "registered", x->path, NULL);
}

static int
post_unregister(struct call *x)
{
	struct fleet_report r;
	uint64_t none = 0;
	struct err e;

	if (ask_forget(x->c->fleet, x->path, x->timeout_s > 0 ?
	    x->timeout_s : TIMEOUT_S, &r, &e) == 0) {
		log_line(LOG_INFO, "database unregistered", "path", x->path,
		    "txid", TXID(r.job.facts.txid), NULL);
		return say(x, "unregistered", x->path, &r.job.facts.txid);
	}
	if (e.kind == ERR_ABSENT)
		return say(x, "already_unregistered", x->path, &none);
	return fail(x, 500, NULL, "failed to unregister database: %s",
	    e.text);
}

/* A string of the body; false: it is something else. */
static bool
take_string(const struct node *map, const char *key, char **s)
{
	const struct node *n = node_get(map, key);

	if (n == NULL || n->kind == NODE_NULL)
		return true;
	if (n->kind != NODE_SCALAR || !n->quoted)
		return false;
	*s = xstrdup(n->text);
	return true;
}

static bool
take_timeout(const struct node *map, int64_t *s)
{
	const struct node *n = node_get(map, "timeout");
	char *end;

	if (n == NULL || n->kind == NODE_NULL)
		return true;
	if (n->kind != NODE_SCALAR || n->quoted || n->text[0] == '\0')
		return false;
	*s = strtoll(n->text, &end, 10);
	return *end == '\0' && *s >= INT32_MIN && *s <= INT32_MAX;
}

static bool
take_wait(const struct node *map, bool *wait)
{
	const struct node *n = node_get(map, "wait");

	if (n == NULL || n->kind == NODE_NULL)
		return true;
	*wait = strcmp(n->text, "true") == 0;
	return n->kind == NODE_SCALAR && !n->quoted &&
	    (*wait || strcmp(n->text, "false") == 0);
}

/* 200, with what the body asks for. */
static int
take_body(struct call *x)
{
	struct node_file *f;
	const struct node *map;
	char *given = NULL;
	struct err e;
	bool good;

	if (node_parse("body", x->r.body, x->r.body_size, &f, &map, &e) != 0)
		return fail(x, 400, e.text, "invalid request body");
	good = map->kind == NODE_MAP && take_string(map, "path", &given) &&
	    take_string(map, "replica_url", &x->url) &&
	    take_timeout(map, &x->timeout_s) && take_wait(map, &x->wait);
	node_free(f);
	if (good && given != NULL && given[0] != '\0')
		x->path = operand_db(given);
	free(given);
	if (!good)
		return fail(x, 400, "not what was expected",
		    "invalid request body");
	return x->path != NULL ? 200 : fail(x, 400, NULL, "path required");
}

static const struct {
	const char *method, *path;
	int (*run)(struct call *);
	bool waits;		/* for a database */
} routes[] = {
	{ "GET", "/metrics", get_metrics, false },	/* for all */
	{ "GET", "/info", get_info, false },
	{ "GET", "/list", get_list, false },
	{ "GET", "/txid", get_txid, false },
	{ "POST", "/sync", post_sync, true },
	{ "POST", "/start", post_start, false },
	{ "POST", "/stop", post_stop, true },
	{ "POST", "/register", post_register, true },
	{ "POST", "/unregister", post_unregister, true },
};

/* Runs what waits, unless too many do. */
static int
run_waiting(struct call *x, int (*run)(struct call *))
{
	int status;

	if (atomic_fetch_add(&x->c->waiting, 1) < WAITERS)
		status = run(x);
	else
		status = fail(x, 503, NULL, "too many requests wait for "
		    "databases");
	atomic_fetch_sub(&x->c->waiting, 1);
	return status;
}

static int
route(struct call *x, bool metrics_only)
{
	size_t i, n = metrics_only ? 1 : sizeof routes / sizeof routes[0];
	int status = 404;

	for (i = 0; i < n; i++) {
		if (strcmp(x->r.path, routes[i].path) != 0)
			continue;
		if (strcmp(x->r.method, routes[i].method) != 0) {
			status = 405;
			break;
		}
		if (routes[i].method[0] == 'P' &&
		    (status = take_body(x)) != 200)
			return status;
		return routes[i].waits ? run_waiting(x, routes[i].run) :
		    routes[i].run(x);
	}
	x->type = "text/plain; charset=utf-8";
	fputs(status == 404 ? "404 page not found\n" : "Method Not Allowed\n",
	    x->out);
	return status;
}

static void
serve_one(struct listener *l, int fd, char *buf)
{
	struct call x = { .c = l->control, .type = "application/json" };
	struct sock s = { .fd = fd, .stop_fd = l->control->stop[0],
	    .until_ms = time_mono_ms() + CLIENT_MS };
	char *body = NULL;
	size_t n = 0;
	int status = http_receive(&s, buf, &x.r);

	if (status < 0 || (x.out = open_memstream(&body, &n)) == NULL)
		return;
	if (status == 200)
		status = route(&x, l->metrics_only);
	else {
		x.type = "text/plain; charset=utf-8";
		fprintf(x.out, "%d %s\n", status, http_reason(status));
	}
	s.until_ms = time_mono_ms() + CLIENT_MS;
	if (fclose(x.out) == 0)
		http_answer(&s, status, x.type, body, n);
	free(body);
	free(x.path);
	free(x.url);
}

static void *
serve(void *arg)
{
	struct listener *l = arg;
	struct pollfd p[] = {
		{ .fd = l->control->stop[0], .events = POLLIN },
		{ .fd = l->fd, .events = POLLIN },
	};
	char *buf = xmalloc(HTTP_MAX + 1);
	int fd;

	while (p[0].revents == 0) {
		if (poll(p, 2, -1) < 0 || p[1].revents == 0)
			continue;
		if ((fd = accept(l->fd, NULL, NULL)) < 0) {
			if (errno != EAGAIN && errno != EINTR &&
			    errno != ECONNABORTED)
				sleep_ms(FULL_MS);	/* no descriptor */
			continue;
		}
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
			serve_one(l, fd, buf);
		/* The end for the client, too, if a hook was begun between
		 * the first two lines and so has this descriptor. */
		shutdown(fd, SHUT_RDWR);
		close(fd);
	}
	free(buf);
	return NULL;
}

static void
start_threads(struct control *c, struct listener *l, size_t n)
{
	for (; n > 0 && l->fd >= 0; n--)
		if (pthread_create(&c->thread[c->threads], NULL, serve,
		    l) == 0)
			c->threads++;
}

static void
listen_on(struct control *c)
{
	const struct config *cf = c->config;
	struct err e;

	if (cf->socket) {
		c->socket.fd = sock_listen_unix(cf->socket_path,
		    (unsigned)cf->socket_mode, &c->file, &e);
		if (c->socket.fd < 0)
			log_line(LOG_WARN, "failed to start control server",
			    "error", e.text, NULL);
		else
			log_line(LOG_INFO, "control socket listening", "path",
			    cf->socket_path, NULL);
	}
	if (cf->addr[0] != '\0') {
		c->metrics.fd = sock_listen_tcp(cf->addr, &e);
		if (c->metrics.fd < 0)
			log_line(LOG_ERROR, "cannot start metrics server",
			    "error", e.text, NULL);
		else
			log_line(LOG_INFO, "serving metrics on", "addr",
			    cf->addr, NULL);
	}
}

struct control *
control_start(const struct config *cf, struct fleet *f, const char *version)
{
	struct control *c;
	struct err e;

	if (cf == NULL || (!cf->socket && cf->addr[0] == '\0'))
		return NULL;
	c = xcalloc(1, sizeof *c);
	c->config = cf;
	c->fleet = f;
	c->version = version;
	c->start_ms = time_mono_ms();
	c->start_wall_ms = time_wall_ms();
	c->socket.control = c->metrics.control = c;
	c->socket.fd = c->metrics.fd = -1;
	c->metrics.metrics_only = true;
	if (pipe(c->stop) != 0) {
		err_sys(&e, "pipe", "open");
		log_line(LOG_WARN, "failed to start control server", "error",
		    e.text, NULL);
		free(c);
		return NULL;
	}
	fcntl(c->stop[0], F_SETFD, FD_CLOEXEC);
	fcntl(c->stop[1], F_SETFD, FD_CLOEXEC);
	listen_on(c);
	start_threads(c, &c->socket, SOCKET_THREADS);
	start_threads(c, &c->metrics, METRICS_THREADS);
	return c;
}

void
control_stop(struct control *c)
{
	if (c == NULL)
		return;
	close(c->stop[1]);	/* readers see the end */
	while (c->threads > 0)
		pthread_join(c->thread[--c->threads], NULL);
	if (c->socket.fd >= 0) {
		sock_unlink(c->config->socket_path, &c->file);
		close(c->socket.fd);
	}
	if (c->metrics.fd >= 0)
		close(c->metrics.fd);
	close(c->stop[0]);
	free(c);
}
