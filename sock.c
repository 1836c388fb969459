/* SPDX-License-Identifier: ISC */
/*
 * Sockets: unix sockets in the file system, and TCP.  None of them blocks, but
 * for a moment when it connects; sock_await() waits.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sock.h"

#define BACKLOG 16

/* Closes what cannot be used; -1 with the reason that errno has. */
static int
drop(int fd, const char *what, const char *call, struct err *e)
{
	err_sys(e, what, call);
	if (fd >= 0)
		close(fd);
	return -1;
}

static int
unix_address(const char *path, struct sockaddr_un *a, struct err *e)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	if (path[0] == '\0')
		return err_set(e, ERR_USAGE, "socket path required");
	if (strlen(path) >= sizeof a->sun_path)
		return err_set(e, ERR_USAGE, "%s: too long for a socket",
		    path);
	memcpy(a->sun_path, path, strlen(path));
	return 0;
}

static int
prepare(int fd)
{
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fcntl(fd, F_SETFL, O_NONBLOCK);
}

int
sock_listen_unix(const char *path, unsigned mode, struct err *e)
{
	struct sockaddr_un a;
	struct stat st;
	int fd;

	if (unix_address(path, &a, e) != 0)
		return -1;
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return err_set(e, ERR_SYSTEM, "socket path exists but "
			    "is not a socket: %s", path);
		if (unlink(path) != 0)
			return err_sys(e, path, "remove existing socket");
	}
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	/* Nobody can connect before it has its mode: that comes first. */
	if (fd < 0 || prepare(fd) != 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof a) != 0)
		return drop(fd, path, "bind", e);
	if (chmod(path, (mode_t)mode) != 0)
		return drop(fd, path, "chmod", e);
	if (listen(fd, BACKLOG) != 0)
		return drop(fd, path, "listen", e);
	return fd;
}

int
sock_listen_tcp(const char *addr, struct err *e)
{
	struct addrinfo hints, *list, *a;
	char *host = xstrdup(addr), *port = strrchr(host, ':'), *name = host;
	int fd = -1, rc, on = 1;

	*port++ = '\0';
	if (name[0] == '[' && port[-2] == ']') {
		port[-2] = '\0';
		name++;
	}
	memset(&hints, 0, sizeof hints);
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_flags = AI_PASSIVE;
	rc = getaddrinfo(name[0] != '\0' ? name : NULL, port, &hints, &list);
	free(host);
	if (rc != 0)
		return err_set(e, ERR_SYSTEM, "%s: %s", addr,
		    gai_strerror(rc));
	err_set(e, ERR_SYSTEM, "%s: no address", addr);
	for (a = list; a != NULL && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
		if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on,
		    sizeof on) == 0 && prepare(fd) == 0 &&
		    bind(fd, a->ai_addr, a->ai_addrlen) == 0 &&
		    listen(fd, BACKLOG) == 0)
			break;
		fd = drop(fd, addr, "listen", e);
	}
	freeaddrinfo(list);
	return fd;
}

int
sock_connect(const char *path, struct err *e)
{
	struct sockaddr_un a;
	int fd;

	if (unix_address(path, &a, e) != 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
	    prepare(fd) != 0)
		return drop(fd, path, "connect", e);
	return fd;
}

bool
sock_await(int fd, short what, int64_t until_ms)
{
	struct pollfd p = { .fd = fd, .events = what };
	int64_t left = until_ms - time_mono_ms();

	return left > 0 && (poll(&p, 1, (int)left) > 0 || errno == EINTR);
}

int
sock_send(int fd, const char *p, size_t n, int64_t until_ms)
{
	ssize_t k;

	while (n > 0) {
		k = send(fd, p, n, MSG_NOSIGNAL);
		if (k > 0) {
			p += k;
			n -= (size_t)k;
		} else if ((errno != EAGAIN && errno != EINTR) ||
		    !sock_await(fd, POLLOUT, until_ms))
			return -1;
	}
	return 0;
}
