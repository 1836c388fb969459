/* SPDX-License-Identifier: ISC */
/*
 * Sockets: unix sockets in the file system, and TCP.
 *
 * A process that is started by mistake must not take the socket of the one that
 * runs, nor remove it when it ends: so a path is only taken where nobody
 * answers, and what is removed is the file that was made.
 */
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

/* Makes way where a socket was left. */
static int
remove_old(const char *path, const struct sockaddr_un *a, struct err *e)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_SYSTEM, "socket path exists but is not "
		    "a socket: %s", path);
	if ((fd = socket(AF_UNIX, SOCK_STREAM, 0)) < 0 || prepare(fd) != 0)
		return drop(fd, path, "socket", e);
	if (connect(fd, (const struct sockaddr *)a, sizeof *a) == 0)
		errno = EADDRINUSE;
	if (errno != ECONNREFUSED)
		return drop(fd, path, "connect", e);
	close(fd);
	return unlink(path) == 0 ? 0 :
	    err_sys(e, path, "remove existing socket");
}

int
sock_listen_unix(const char *path, unsigned mode, struct stat *mine,
    struct err *e)
{
	struct sockaddr_un a;
	int fd;

	if (unix_address(path, &a, e) != 0 || remove_old(path, &a, e) != 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	/* Nobody can connect before it has its mode: that comes first. */
	if (fd < 0 || prepare(fd) != 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof a) != 0)
		return drop(fd, path, "bind", e);
	if (chmod(path, (mode_t)mode) != 0 || lstat(path, mine) != 0)
		return drop(fd, path, "chmod", e);
	if (listen(fd, BACKLOG) != 0)
		return drop(fd, path, "listen", e);
	return fd;
}

void
sock_unlink(const char *path, const struct stat *mine)
{
	struct stat st;

	if (lstat(path, &st) == 0 && st.st_dev == mine->st_dev &&
	    st.st_ino == mine->st_ino)
		unlink(path);
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
sock_connect(const char *path, int64_t timeout_ms, struct err *e)
{
	struct timeval tv = { .tv_sec = (time_t)(timeout_ms / 1000),
	    .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000) };
	struct sockaddr_un a;
	int fd;

	if (unix_address(path, &a, e) != 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv,
	    sizeof tv) != 0 ||
	    connect(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
	    prepare(fd) != 0)
		return drop(fd, path, "connect", e);
	return fd;
}

/* Whether it is worth trying again, after waiting for what of poll(2). */
static bool
await(const struct sock *s, short what)
{
	struct pollfd p[] = {
		{ .fd = s->fd, .events = what },
		{ .fd = s->stop_fd, .events = POLLIN },	/* -1 is ignored */
	};
	int64_t left = s->until_ms - time_mono_ms();

	if (errno == EINTR)
		return true;
	if (errno != EAGAIN)
		return false;
	left = left < 0 ? 0 : left < INT_MAX ? left : INT_MAX;
	if (poll(p, 2, (int)left) < 0)
		return errno == EINTR;
	errno = ETIMEDOUT;
	return p[0].revents != 0 && p[1].revents == 0;
}

ssize_t
sock_read(const struct sock *s, void *p, size_t n)
{
	ssize_t k;

	do
		k = recv(s->fd, p, n, 0);
	while (k < 0 && await(s, POLLIN));
	return k;
}

int
sock_write(const struct sock *s, const char *p, size_t n)
{
	ssize_t k;

	while (n > 0) {
		k = send(s->fd, p, n, MSG_NOSIGNAL);
		if (k > 0) {
			p += k;
			n -= (size_t)k;
		} else if (!await(s, POLLOUT))
			return -1;
	}
	return 0;
}
