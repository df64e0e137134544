# Opens sockets that take a capability; sends nothing. Reports each as "opened" or the error.
import errno
import json
import socket

KINDS = {
    "icmp": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "icmpv6": (socket.AF_INET6, socket.SOCK_RAW, 58),
    "sctp": (socket.AF_INET, socket.SOCK_RAW, 132),
    "packet": (socket.AF_PACKET, socket.SOCK_RAW, 0x0300),
}


def attempt(kind):
    try:
        socket.socket(*kind).close()
        return "opened"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


print("RESULT " + json.dumps({name: attempt(kind) for name, kind in KINDS.items()}))
