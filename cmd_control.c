/* SPDX-License-Identifier: ISC */
/*
 * The commands that ask a running replicator through its control socket.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "cmd.h"
#include "cmd_control.h"
#include "keys.h"
#include "operand.h"
#include "opt.h"

struct flags {
	const char *socket, *replica;
	int timeout;
	bool json, dry_run;
};

/* What a command takes besides -socket, -timeout and -json. */
struct command {
	const char *name, *help;
	int timeout;
	bool database, replica, dry_run, any_timeout;
};

static const struct command info = { .name = "info", .timeout = 10, .help =
"usage: litestream info [flags]\n"
"\n"
"Tells about the replicator that listens on a control socket.\n"
"\n"
"  -json         print JSON\n"
"  -socket PATH  its control socket (default " CLIENT_SOCKET ")\n"
"  -timeout N    how many seconds to wait (default 10)\n"
};

static const struct command list = { .name = "list", .timeout = 10, .help =
"usage: litestream list [flags]\n"
"\n"
"Lists the databases of the replicator that listens on a control socket.\n"
"\n"
"  -json         print JSON\n"
"  -socket PATH  its control socket (default " CLIENT_SOCKET ")\n"
"  -timeout N    how many seconds to wait (default 10)\n"
};

static const struct command start = { .name = "start", .timeout = 30,
	.database = true, .any_timeout = true, .help =
"usage: litestream start [flags] DB_PATH\n"
"\n"
"Replicates a database again that was stopped by litestream stop.\n"
"\n"
"  -json         print JSON\n"
"  -socket PATH  control socket (default " CLIENT_SOCKET ")\n"
"  -timeout N    how many seconds to wait (default 30)\n"
};

static const struct command stop = { .name = "stop", .timeout = 30,
	.database = true, .any_timeout = true, .help =
"usage: litestream stop [flags] DB_PATH\n"
"\n"
"Publishes what is committed, and stops the replication of a database.\n"
"\n"
"  -json         print JSON\n"
"  -socket PATH  control socket (default " CLIENT_SOCKET ")\n"
"  -timeout N    how many seconds to wait (default 30)\n"
};

static const struct command reg = { .name = "register", .timeout = 30,
	.database = true, .replica = true, .help =
"usage: litestream register [flags] -replica URL DB_PATH\n"
"\n"
"Has a database replicated until the replicator ends.\n"
"\n"
"  -replica URL  into this directory\n"
"  -json         print JSON\n"
"  -socket PATH  control socket (default " CLIENT_SOCKET ")\n"
"  -timeout N    how many seconds to wait (default 30)\n"
};

static const struct command unreg = { .name = "unregister", .timeout = 30,
	.database = true, .dry_run = true, .help =
"usage: litestream unregister [flags] DB_PATH\n"
"\n"
"Publishes what is committed, and has the replicator forget a database.\n"
"\n"
"  -dry-run      only say so\n"
"  -json         print JSON\n"
"  -socket PATH  control socket (default " CLIENT_SOCKET ")\n"
"  -timeout N    how many seconds to wait (default 30)\n"
};

static int
check(const struct command *c, const struct flags *f, int operands)
{
	char hint[96];

	snprintf(hint, sizeof hint, "litestream %s%s%s", c->name, c->replica ?
	    " -replica file:///path/to/replica" : "",
	    c->database ? " /path/to/db" : "");
	if (operands < (c->database ? 1 : 0))
		return cmd_usage(hint, "database path required");
	if (operands > (c->database ? 1 : 0))
		return cmd_usage(NULL, "too many arguments");
	if (c->replica && f->replica[0] == '\0')
		return cmd_usage(hint, "-replica is required");
	if (!c->any_timeout && f->timeout <= 0)
		return cmd_usage(NULL, "timeout must be greater than 0");
	return CMD_OK;
}

/* The flags; true if the command is to go on, else *status is its end.  *db is
 * as given, "" if the command takes none. */
static bool
take(const struct command *c, int argc, char **argv, struct flags *f,
    const char **db, int *status)
{
	struct opt opts[6] = {
		{ "socket", OPT_STRING, &f->socket },
		{ "timeout", OPT_INT, &f->timeout },
		{ "json", OPT_BOOL, &f->json },
	};
	struct err e;
	int at;

	memset(f, 0, sizeof *f);
	f->socket = CLIENT_SOCKET;
	f->replica = "";
	f->timeout = c->timeout;
	if (c->replica)
		opts[3] = (struct opt){ "replica", OPT_STRING, &f->replica };
	if (c->dry_run)
		opts[3] = (struct opt){ "dry-run", OPT_BOOL, &f->dry_run };
	at = opt_parse(opts, argc, argv, &e);
	if (at == OPT_HELP) {
		fputs(c->help, stdout);
		*status = cmd_check_stdout(CMD_OK);
		return false;
	}
	if (at == OPT_BAD) {
		err_hint(&e, "litestream %s -h", c->name);
		*status = cmd_fail(&e);
		return false;
	}
	*status = check(c, f, argc - at);
	*db = argc > at ? argv[at] : "";
	return *status == CMD_OK;
}

/* {"path": db, key: value, "timeout": n}, malloc'd; key may be NULL. */
static char *
make_body(const char *db, const char *key, const char *value, int timeout)
{
	char *path = operand_db(db), *body = NULL;
	size_t n;
	FILE *f = open_memstream(&body, &n);

	if (f != NULL) {
		fputs("{\"path\":", f);
		json_string(f, path);
		if (key != NULL) {
			fprintf(f, ",\"%s\":", key);
			json_string(f, value);
		}
		fprintf(f, ",\"timeout\":%d}", timeout);
		fclose(f);
	}
	free(path);
	return body != NULL ? body : xstrdup("");
}

/* Asks; CMD_OK with an answer. */
static int
ask(const struct command *c, const struct flags *f, const char *db,
    struct node_file **file, const struct node **root)
{
	char *body = c->database ? make_body(db, c->replica ? "replica_url" :
	    NULL, f->replica, f->timeout) : NULL;
	struct err e;
	int rc = client_call(f->socket, c->name, body,
	    (int64_t)f->timeout * 1000, file, root, &e);

	free(body);
	return rc == 0 ? CMD_OK : cmd_fail(&e);
}

/*
 * One line of an answer: "label: value", or as a member of an object.  Numbers
 * are printed as they came if they are that.
 */
enum kind { TEXT, NUMBER };

static void
print(bool json, bool first, const char *label, enum kind kind,
    const char *value)
{
	bool number = kind == NUMBER && value[0] != '\0' &&
	    value[strspn(value, "0123456789")] == '\0';

	if (!json) {
		printf("%s: %s\n", label, value);
		return;
	}
	printf("%s  \"%s\": ", first ? "{\n" : ",\n", label);
	if (kind == NUMBER)
		fputs(number ? value : "0", stdout);
	else
		json_string(stdout, value);
}

static void
print_end(bool json)
{
	if (json)
		puts("\n}");
}

/* An RFC 3339 time, without the fraction of its second. */
static void
print_seconds(const char *time)
{
	const char *dot = strchr(time, '.');

	if (dot == NULL)
		fputs(time, stdout);
	else
		printf("%.*s%s", (int)(dot - time), time,
		    dot + 1 + strspn(dot + 1, "0123456789"));
}

int
cmd_info(int argc, char **argv)
{
	struct node_file *file;
	const struct node *r;
	struct flags f;
	const char *none;
	char up[TEXT_SIZE];
	int status;

	if (!take(&info, argc, argv, &f, &none, &status) ||
	    (status = ask(&info, &f, none, &file, &r)) != CMD_OK)
		return status;
	if (f.json) {
		print(true, true, "version", TEXT,
		    client_field(r, "version"));
		print(true, false, "pid", NUMBER, client_field(r, "pid"));
		print(true, false, "uptime_seconds", NUMBER,
		    client_field(r, "uptime_seconds"));
		print(true, false, "started_at", TEXT,
		    client_field(r, "started_at"));
		print(true, false, "database_count", NUMBER,
		    client_field(r, "database_count"));
		print_end(true);
	} else {
		printf("Litestream %s\n  PID:        %s\n  Uptime:     %s\n"
		    "  Started at: ", client_field(r, "version"),
		    client_field(r, "pid"), keys_duration(up, 1000 *
		    (int64_t)strtol(client_field(r, "uptime_seconds"), NULL,
		    10)));
		print_seconds(client_field(r, "started_at"));
		printf("\n  Databases:  %s\n",
		    client_field(r, "database_count"));
	}
	node_free(file);
	return cmd_check_stdout(CMD_OK);
}

static void
print_database(const struct node *d, bool json, bool first)
{
	const char *at = client_field(d, "last_sync_at");

	if (!json) {
		printf("%s [%s] (last sync: ", client_field(d, "path"),
		    client_field(d, "status"));
		print_seconds(at[0] != '\0' ? at : "never");
		puts(")");
		return;
	}
	printf("%s    {\n      \"path\": ", first ? "" : ",\n");
	json_string(stdout, client_field(d, "path"));
	printf(",\n      \"status\": ");
	json_string(stdout, client_field(d, "status"));
	if (at[0] != '\0') {
		printf(",\n      \"last_sync_at\": ");
		json_string(stdout, at);
	}
	printf("\n    }");
}

int
cmd_list(int argc, char **argv)
{
	struct node_file *file;
	const struct node *r, *l;
	struct flags f;
	const char *none;
	size_t i, n;
	int status;

	if (!take(&list, argc, argv, &f, &none, &status) ||
	    (status = ask(&list, &f, none, &file, &r)) != CMD_OK)
		return status;
	l = node_get(r, "databases");
	n = l != NULL && l->kind == NODE_LIST ? l->n : 0;
	if (f.json)
		printf("{\n  \"databases\": [%s", n > 0 ? "\n" : "");
	else if (n == 0)
		puts("No databases configured");
	for (i = 0; i < n; i++)
		print_database(l->child[i], f.json, i == 0);
	if (f.json)
		puts(n > 0 ? "\n  ]\n}" : "]\n}");
	node_free(file);
	return cmd_check_stdout(CMD_OK);
}

static int
start_or_stop(const struct command *c, const char *state, int argc,
    char **argv)
{
	struct node_file *file;
	const struct node *r;
	struct flags f;
	const char *db;
	int status;

	if (!take(c, argc, argv, &f, &db, &status) ||
	    (status = ask(c, &f, db, &file, &r)) != CMD_OK)
		return status;
	print(f.json, true, "status", TEXT, client_field(r, "status"));
	print(f.json, false, "db_path", TEXT, client_field(r, "path"));
	print(f.json, false, "state", TEXT, state);
	print(f.json, false, "txid", NUMBER, client_field(r, "txid"));
	print(f.json, false, "socket", TEXT, f.socket);
	print_end(f.json);
	node_free(file);
	return cmd_check_stdout(CMD_OK);
}

int
cmd_start(int argc, char **argv)
{
	return start_or_stop(&start, "running", argc, argv);
}

int
cmd_stop(int argc, char **argv)
{
	return start_or_stop(&stop, "stopped", argc, argv);
}

int
cmd_register(int argc, char **argv)
{
	struct node_file *file;
	const struct node *r;
	const char *db, *said;
	struct flags f;
	int status;

	if (!take(&reg, argc, argv, &f, &db, &status) ||
	    (status = ask(&reg, &f, db, &file, &r)) != CMD_OK)
		return status;
	said = client_field(r, "status");
	print(f.json, true, "status", TEXT, !f.json &&
	    strcmp(said, "already_registered") == 0 ? "already registered" :
	    said);
	print(f.json, false, "db_path", TEXT, client_field(r, "path"));
	print(f.json, false, "replica", TEXT, f.replica);
	print(f.json, false, "socket", TEXT, f.socket);
	print_end(f.json);
	node_free(file);
	return cmd_check_stdout(CMD_OK);
}

int
cmd_unregister(int argc, char **argv)
{
	struct node_file *file;
	const struct node *r;
	struct flags f;
	const char *db;
	int status;

	if (!take(&unreg, argc, argv, &f, &db, &status))
		return status;
	if (f.dry_run) {
		printf("Dry run: unregister request preview\n"
		    "  database: %s\n  socket: %s\n"
		    "  replicas: daemon-managed replica for this database\n"
		    "  final sync: daemon close will sync the database and "
		    "replica before the command completes\n"
		    "  timeout: %ds\nNo unregister request was sent.\n", db,
		    f.socket, f.timeout);
		return cmd_check_stdout(CMD_OK);
	}
	if ((status = ask(&unreg, &f, db, &file, &r)) != CMD_OK)
		return status;
	print(f.json, true, "status", TEXT, client_field(r, "status"));
	print(f.json, false, "db_path", TEXT, client_field(r, "path"));
	print(f.json, false, "final_txid", NUMBER, client_field(r, "txid"));
	print(f.json, false, "socket", TEXT, f.socket);
	print_end(f.json);
	node_free(file);
	return cmd_check_stdout(CMD_OK);
}
