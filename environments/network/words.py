"""The first words of a connection: what an observer learns of it without being part of it. Standard library only.

TLS ClientHello (RFC 8446, 4.1.2) with SNI and ALPN, HTTP/1 request, DNS over TCP (RFC 1035, 4.2.2). Bytes are a
stranger's: nothing here raises on any of them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from environments.network import dns
from environments.network.services import DOT, is_doh_host

LIMIT = 16_384  # bytes of a flow that are looked at; a ClientHello with post-quantum keys has some 2 000
_SNI, _ALPN = 0, 16
_REQUEST = re.compile(rb"([A-Z]{3,16}) (\S{1,8000}) HTTP/1\.[01]\r?\n")
_COULD_BE_REQUEST = re.compile(rb"[A-Z]{1,16}(?: [^\r\n]*)?(?:\r|\r?\n.*)?\Z", re.DOTALL)
_HOST = re.compile(rb"\r?\nhost:[ \t]*([^\r\n]*)\r?\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Words:
    """What was understood. service: empty if the port has to tell; name: SNI, Host, CONNECT target, DNS question."""

    service: str = ""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Hello:
    name: str | None
    protocols: tuple[bytes, ...]  # ALPN


def read(data: bytes, port: int) -> Words | None:
    """Understand what a client sent first to a TCP port; None while more bytes could tell more."""
    if not data:
        return None
    if port == 53:
        return _dns(data)
    if data[0] == 22:
        return _tls(data, port)
    if data.startswith(b"SSH-"):
        return Words("ssh")
    if data.startswith(b"PRI * HTTP/2"):
        return Words("http")
    if _COULD_BE_REQUEST.match(data):
        return _http(data)
    return Words()


def _dns(data: bytes) -> Words | None:
    asked = dns.framed(data)
    if asked is None and len(data) < 2 + int.from_bytes(data[:2], "big"):
        return None
    return Words("dns", asked[0].name) if asked else Words()


def _tls(data: bytes, port: int) -> Words | None:
    try:
        said = hello(handshake(data))
    except ValueError:
        return Words()
    if said is None:
        return None
    if port == DOT or b"dot" in said.protocols:
        return Words("dot", said.name)
    if is_doh_host(said.name):
        return Words("doh", said.name)
    web = port == 443 or any(each in (b"h2", b"http/1.1") for each in said.protocols)
    return Words("https" if web else "", said.name)


def _http(data: bytes) -> Words | None:
    request = _REQUEST.match(data)
    host = _HOST.search(data)
    if request is None or not (host or b"\n\r\n" in data or b"\n\n" in data):
        return None
    method, target = request[1], request[2]
    if method == b"CONNECT":
        return Words("proxy", host_of(target))
    absolute = re.match(rb"[a-zA-Z]+://([^/]*)", target)
    name = host_of(absolute[1] if absolute else host[1] if host else b"")
    path = target[absolute.end() :] if absolute else target
    return Words("doh" if path.startswith(b"/dns-query") else "proxy" if absolute else "http", name)


def host_of(authority: bytes) -> str | None:
    """Host of `user@host:port`, `[v6]:port`; lower case, printable, without the last dot."""
    host = authority.rpartition(b"@")[2].strip()
    host = host[1:].partition(b"]")[0] if host.startswith(b"[") else host.partition(b":")[0]
    return printable(host)


def printable(name: bytes) -> str | None:
    """A name as it may stand in a ledger: at most 255 characters, what is not ASCII written as escapes."""
    text = name[:255].decode("ascii", "backslashreplace").lower().rstrip(".")
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text) or None


def handshake(data: bytes) -> bytes:
    """Handshake bytes inside the TLS records received so far; a message may be split over records."""
    found, at = b"", 0
    while at + 5 <= len(data) and data[at] == 22:
        length = struct.unpack_from("!H", data, at + 3)[0]
        found += data[at + 5 : at + 5 + length]
        at += 5 + length
    return found


def hello(message: bytes) -> Hello | None:
    """A ClientHello with its handshake header; None while it is not whole. ValueError if it is none."""
    if not message:
        return None
    if message[0] != 1:
        raise ValueError("no ClientHello")
    if len(message) < 4:
        return None
    end = 4 + int.from_bytes(message[1:4], "big")
    if end > LIMIT:
        raise ValueError("a ClientHello of impossible length")
    if len(message) < end:
        return None
    at = 4 + 2 + 32  # version, random
    for size in (1, 2, 1):  # session id, cipher suites, compression methods
        at += size + _number(message, at, size, end)
    at += 2  # length of all extensions
    name: str | None = None
    protocols: tuple[bytes, ...] = ()
    while at + 4 <= end:
        kind, length = _number(message, at, 2, end), _number(message, at + 2, 2, end)
        body = message[at + 4 : min(end, at + 4 + length)]
        if kind == _SNI and len(body) >= 5 and body[2] == 0:
            name = printable(body[5 : 5 + int.from_bytes(body[3:5], "big")])
        elif kind == _ALPN:
            protocols = _protocols(body[2:])
        at += 4 + length
    return Hello(name, protocols)


def _number(message: bytes, at: int, size: int, end: int) -> int:
    if at + size > end:
        raise ValueError("a ClientHello that ends within a field")
    return int.from_bytes(message[at : at + size], "big")


def _protocols(body: bytes) -> tuple[bytes, ...]:
    found, at = [], 0
    while at < len(body):
        found.append(body[at + 1 : at + 1 + body[at]])
        at += 1 + body[at]
    return tuple(found)


def client_hello(name: str, protocols: tuple[bytes, ...] = (b"h2", b"http/1.1")) -> bytes:
    """A ClientHello that asks for a name, with its handshake header: for canaries. No server could go on with it."""
    host = name.encode("ascii")
    sni = struct.pack("!HBH", len(host) + 3, 0, len(host)) + host
    listed = b"".join(bytes([len(each)]) + each for each in protocols)
    alpn = struct.pack("!H", len(listed)) + listed
    extensions = struct.pack("!HH", _SNI, len(sni)) + sni + struct.pack("!HH", _ALPN, len(alpn)) + alpn
    extensions += bytes.fromhex("002b0003020304")  # TLS 1.3
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" + struct.pack("!H", len(extensions))
    body += extensions
    return b"\x01" + len(body).to_bytes(3, "big") + body


def record(message: bytes) -> bytes:
    """A handshake message in one TLS record."""
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message
