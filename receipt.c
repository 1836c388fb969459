/* SPDX-License-Identifier: ISC */
#include <sys/stat.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "receipt.h"

#define LINE_SIZE 64

int
receipt_write(const char *root, const struct receipt *r, struct err *e)
{
	char *path, line[LINE_SIZE];
	struct disk_owner o;
	struct stat st;
	int rc;

	if (stat(root, &st) != 0)
		return err_sys(e, root, "stat");
	o.uid = st.st_uid;
	o.gid = st.st_gid;
	o.file_mode = st.st_mode & 0666;
	o.dir_mode = st.st_mode & 0777;
	snprintf(line, sizeof line, "%" PRId64 " %d %s\n", r->time_ms,
	    (int)r->outcome, TXID(r->txid));
	path = xasprintf("%s/.verified", root);
	rc = disk_replace(path, true, line, strlen(line), &o, e);
	free(path);
	return rc;
}

bool
receipt_read(const char *root, struct receipt *r)
{
	char *path = xasprintf("%s/.verified", root), *s = NULL, *at;
	struct err ignored;
	bool good = false;
	long outcome;
	size_t n;

	memset(r, 0, sizeof *r);
	if (disk_read_all(path, LINE_SIZE, &s, &n, &ignored) == 0 &&
	    s[0] >= '0' && s[0] <= '9') {
		r->time_ms = strtoll(s, &at, 10);
		outcome = strtol(at, &at, 10);
		r->txid = strtoull(at, &at, 16);
		good = *at == '\n' && outcome >= RECEIPT_WHOLE &&
		    outcome <= RECEIPT_DAMAGED;
		r->outcome = good ? (enum receipt_outcome)outcome :
		    RECEIPT_UNKNOWN;
	}
	free(s);
	free(path);
	return good;
}
