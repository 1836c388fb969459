# SPDX-License-Identifier: ISC
"""A request to a control socket: control.py SOCKET METHOD PATH [BODY].

Prints the status and then the body as they came.  METHOD raw: PATH is the
whole request, with escapes; nothing comes back for one that is not answered.
"""
import socket
import sys

where, method, path = sys.argv[1:4]
body = sys.argv[4] if len(sys.argv) > 4 else ""
if ":" in where:
    host, port = where.rsplit(":", 1)
    s = socket.create_connection((host, int(port)), 30)
else:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    s.connect(where)
if method == "raw":
    request = path.encode().decode("unicode_escape").encode("latin-1")
else:
    request = (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
               f"Content-Length: {len(body.encode())}\r\n\r\n{body}").encode()
try:
    s.sendall(request)
    if method == "raw":
        s.shutdown(socket.SHUT_WR)
    answer = b""
    while True:
        piece = s.recv(65536)
        if not piece:
            break
        answer += piece
except (BrokenPipeError, ConnectionResetError):
    answer = b""
if answer:
    head, _, rest = answer.decode().partition("\r\n\r\n")
    fields = dict(f.lower().split(": ", 1) for f in head.split("\r\n")[1:])
    assert int(fields["content-length"]) == len(rest.encode()), head
    assert fields["connection"] == "close", head
    print(head.split(" ")[1])
    sys.stdout.write(rest)
