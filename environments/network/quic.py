"""The name inside a QUIC Initial, which any observer may read: its keys follow from the packet itself (RFC 9001, 5.2).

Versions 1 and 2 (RFC 9369). For the reading side only: it needs a cipher, which the router does without.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from environments.network import words

V1, V2 = 1, 0x6B3343CF
_TAG = 16


@dataclass(frozen=True)
class _Version:
    salt: bytes
    label: bytes
    initial: int  # long packet type


_VERSIONS = {
    V1: _Version(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), b"quic", 0),
    V2: _Version(bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2", 1),
}


@dataclass(frozen=True)
class _Keys:
    key: bytes
    iv: bytes
    header: bytes


@dataclass(frozen=True)
class _Long:
    """A long header packet in a datagram: where its parts are."""

    version: int
    kind: int
    destination: bytes
    number_at: int  # offset of the packet number, which is still protected
    end: int


def server_name(datagrams: Sequence[bytes]) -> str | None:
    """The SNI in the ClientHello that these first datagrams of a client carry; None if it is not (all) there."""
    pieces: dict[int, bytes] = {}
    for data in datagrams:
        for frames in initials(data):
            pieces.update(_crypto(frames))
    message = b""
    for offset in sorted(pieces):
        if offset > len(message):
            break
        message += pieces[offset][len(message) - offset :]
    try:
        said = words.hello(message)
    except ValueError:
        return None
    return said.name if said else None


def initials(data: bytes) -> Iterator[bytes]:
    """Frames of each Initial in a client's datagram; several packets may share one."""
    at = 0
    while at < len(data):
        try:
            packet = _long(data, at)
        except (IndexError, ValueError, struct.error):
            return
        version = _VERSIONS.get(packet.version)
        if version and packet.kind == version.initial:
            frames = _open(data, at, packet, version)
            if frames is not None:
                yield frames
        at = packet.end


def _long(data: bytes, at: int) -> _Long:
    first, version, length = struct.unpack_from("!BIB", data, at)
    if first & 0xC0 != 0xC0 or version not in _VERSIONS:
        raise ValueError("no long header of a version that is known")
    at += 6
    destination = data[at : at + length]
    at += length
    at += 1 + data[at]  # source connection id
    kind = (first >> 4) & 3
    if kind == _VERSIONS[version].initial:
        size, at = _variable(data, at)  # token
        at += size
    size, at = _variable(data, at)
    if at + size > len(data) or size < 4 + _TAG:
        raise ValueError("a packet longer than its datagram")
    return _Long(version, kind, destination, at, at + size)


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer (RFC 9000, 16), and where it ends."""
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        raise ValueError("an integer that ends after the packet")
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def _keys(destination: bytes, version: _Version) -> _Keys:
    extract = HMAC(version.salt, hashes.SHA256())
    extract.update(destination)
    secret = _expand(extract.finalize(), b"client in", 32)
    label = version.label
    return _Keys(
        _expand(secret, label + b" key", 16), _expand(secret, label + b" iv", 12), _expand(secret, label + b" hp", 16)
    )


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    label = b"tls13 " + label
    info = struct.pack("!HB", length, len(label)) + label + b"\0"
    return HKDFExpand(hashes.SHA256(), length, info).derive(secret)


def _mask(key: bytes, sample: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # as RFC 9001, 5.4.3, has it
    return encryptor.update(sample)[:5]


def _open(data: bytes, at: int, packet: _Long, version: _Version) -> bytes | None:
    """Decipher a packet of the client; None if it is not one."""
    keys = _keys(packet.destination, version)
    number_at = packet.number_at
    mask = _mask(keys.header, data[number_at + 4 : number_at + 20])
    first = data[at] ^ (mask[0] & 0x0F)
    length = (first & 3) + 1
    number = bytes(a ^ b for a, b in zip(data[number_at : number_at + length], mask[1:], strict=False))
    header = bytes([first]) + data[at + 1 : number_at] + number
    try:
        return AESGCM(keys.key).decrypt(_nonce(keys, number), data[number_at + length : packet.end], header)
    except InvalidTag:
        return None


def _nonce(keys: _Keys, number: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(keys.iv, number.rjust(12, b"\0"), strict=True))


def _crypto(frames: bytes) -> dict[int, bytes]:
    """Offset -> data of the CRYPTO frames; what may stand between them in an Initial is skipped."""
    found, at = {}, 0
    try:
        while at < len(frames):
            kind = frames[at]
            at += 1
            if kind in (0, 1):  # PADDING, PING
                continue
            if kind in (2, 3):  # ACK, with ECN
                _, at = _variable(frames, at)
                _, at = _variable(frames, at)
                ranges, at = _variable(frames, at)
                for _ in range(1 + 2 * min(ranges, len(frames)) + (3 if kind == 3 else 0)):
                    _, at = _variable(frames, at)
                continue
            if kind != 6:
                break
            offset, at = _variable(frames, at)
            length, at = _variable(frames, at)
            found[offset] = frames[at : at + length]
            at += length
    except (IndexError, ValueError):
        return found
    return found


def initial(
    message: bytes, *, version: int = V1, destination: bytes = b"conform!", offset: int = 0, number: int = 0
) -> bytes:
    """A client's Initial with (a part of) a ClientHello, in a datagram of 1200 bytes: for canaries and tests."""
    known = _VERSIONS[version]
    keys = _keys(destination, known)
    frames = b"\x06" + _encoded(offset) + _encoded(len(message)) + message
    head = bytes([0xC0 | known.initial << 4 | 3]) + struct.pack("!IB", version, len(destination)) + destination
    head += b"\0\0"  # no source id, no token
    frames = frames.ljust(1200 - len(head) - 2 - 4 - _TAG, b"\0")
    head += _encoded(4 + len(frames) + _TAG)
    plain = number.to_bytes(4, "big")
    sealed = AESGCM(keys.key).encrypt(_nonce(keys, plain), frames, head + plain)
    mask = _mask(keys.header, sealed[:16])
    hidden = bytes(a ^ b for a, b in zip(plain, mask[1:], strict=True))
    return bytes([head[0] ^ (mask[0] & 0x0F)]) + head[1:] + hidden + sealed


def _encoded(value: int) -> bytes:
    """A variable-length integer below 16384."""
    return bytes([value]) if value < 64 else struct.pack("!H", 0x4000 | value)
