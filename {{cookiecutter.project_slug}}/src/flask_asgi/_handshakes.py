"""Keeps new connections from a listening socket that is about to close."""

import contextlib
import socket
import struct
import sys
from array import array

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python's `socket` has no name for it

# A classic BPF program, an instruction a line: code, jump if true, jump if false, operand. For a
# TCP socket the packet begins with the TCP header, whose flags are its byte 13 (RFC 9293 section
# 3.1). The first segment of a new connection has SYN (0x02) and no ACK (0x10).
_DROP_SYN = [
    (0x30, 0, 0, 13),  # load the byte 13
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # only SYN: go on, otherwise skip a line
    (0x06, 0, 0, 0),  # drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # take all of the packet
]


def drop_new(listener: socket.socket) -> None:
    """Make the kernel accept no new handshakes on `listener`, and finish those it has begun.

    A client whose SYN is dropped sends it again after a second. If the socket is closed by then,
    the connection is refused. Without the filter the kernel may make a connection after the last
    `accept`, and closing the socket resets it.

    The filter belongs to the socket, not to the descriptor: it applies in every process that shares
    the socket, and is never removed. So attach it only when no process will serve there any more.

    It does nothing on systems without these filters: only Linux has them (`SO_ATTACH_FILTER` of
    socket(7), `struct sock_fprog` of linux/filter.h).
    """
    if sys.platform != "linux" or listener.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    program = array("B", b"".join(struct.pack("=HBBI", *line) for line in _DROP_SYN))
    address, _ = program.buffer_info()
    with contextlib.suppress(OSError):  # a kernel or a sandbox without filters
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_DROP_SYN), address)
        )
