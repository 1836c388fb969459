#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""ltxmake.py FILE MIN MAX COMMIT STAMP SALT PRE POST PAGE=CHAR...: a file of
512-byte pages (PAGE_SIZE: of others), each filled with one character; SALT, PRE
and POST are claims that nobody checks here."""
import os
import struct
import sys

sys.dont_write_bytecode = True
from crash import crc64

SIZE, FLAG = int(os.environ.get('PAGE_SIZE', 512)), 1 << 63
path = sys.argv[1]
low, high, commit, stamp, salt, pre, post = map(int, sys.argv[2:9])
out = struct.pack('>4sIIIQQQQQQIIQIQQ', b'LTX1', 2, SIZE, commit, low, high,
                  stamp, 0, 32, 0, 0, 0, 0, salt, pre, post)
summed, index = out, b''


def varint(n):
    text = b''
    while n > 127:
        text += bytes([n & 127 | 128])
        n >>= 7
    return text + bytes([n])


for arg in sys.argv[9:]:
    pgno, char = arg.split('=')
    page = char.encode() * SIZE
    block = b'\xf0' + b'\xff' * ((SIZE - 15) // 255) + \
        bytes([(SIZE - 15) % 255]) + page
    head = struct.pack('>IHI', int(pgno), 1, len(block))
    index += varint(int(pgno)) + varint(len(out)) + \
        varint(len(head) + len(block))
    out, summed = out + head + block, summed + head + page
index += b'\0'
tail = bytes(6) + index + struct.pack('>QQ', len(index), 0)
with open(path, 'wb') as f:
    f.write(out + tail + struct.pack('>Q', crc64(summed + tail) | FLAG))
