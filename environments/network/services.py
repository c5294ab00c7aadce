"""What a destination port, or a first datagram, says of the service that is wanted. Standard library only."""

from __future__ import annotations

import ipaddress
import struct

DOT = 853
_TCP = {
    22: "ssh", 25: "smtp", 53: "dns", 80: "http", 123: "ntp", 389: "ldap", 443: "https", 465: "smtp", 514: "syslog",
    587: "smtp", 636: "ldaps", 853: "dot", 1080: "proxy", 1883: "mqtt", 3128: "proxy", 3306: "mysql", 3478: "stun",
    4317: "otlp", 4318: "otlp", 5222: "xmpp", 5432: "postgresql", 5671: "amqp", 5672: "amqp", 6379: "redis",
    6514: "syslog", 7687: "bolt", 8086: "influxdb", 8443: "https", 8883: "mqtt", 9092: "kafka", 27017: "mongodb",
}  # fmt: skip
_UDP = {
    53: "dns", 67: "dhcp", 69: "tftp", 123: "ntp", 161: "snmp", 162: "snmp", 443: "quic", 500: "ike", 514: "syslog",
    547: "dhcp", 784: "doq", 853: "doq", 1194: "openvpn", 1900: "ssdp", 3478: "stun", 3479: "stun", 4500: "ike",
    4789: "vxlan", 5349: "stun", 5353: "mdns", 5355: "llmnr", 8125: "statsd", 19302: "stun", 51820: "wireguard",
}  # fmt: skip
_OF_THE_LINK = frozenset({"mdns", "llmnr", "ssdp", "dhcp"})  # said to the neighbours; no router passes them on
_DOH_HOSTS = frozenset({
    "adguard-dns.com", "alidns.com", "cleanbrowsing.org", "cloudflare-dns.com", "cloudflare-gateway.com",
    "controld.com", "dns.google", "dns.google.com", "dns.mullvad.net", "dns.nextdns.io", "dns.quad9.net",
    "dns.sb", "dns.twnic.tw", "dns0.eu", "doh.dns.apple.com", "doh.li", "doh.libredns.gr", "doh.opendns.com",
    "doh.pub", "doh.umbrella.com", "doh.xfinity.com", "dns9.quad9.net", "dns10.quad9.net", "dns11.quad9.net",
    "odvr.nic.cz", "one.one.one.one", "wikimedia-dns.org",
})  # fmt: skip
_DOH_ADDRESSES = frozenset({
    "1.0.0.1", "1.1.1.1", "8.8.4.4", "8.8.8.8", "9.9.9.9", "149.112.112.112", "208.67.220.220", "208.67.222.222",
    "94.140.14.14", "94.140.15.15", "2001:4860:4860::8844", "2001:4860:4860::8888", "2606:4700:4700::1001",
    "2606:4700:4700::1111", "2620:fe::9", "2620:fe::fe",
})  # fmt: skip
_STUN_COOKIE = 0x2112A442
_QUIC_INITIAL = {1: 0, 0x6B3343CF: 1}  # version -> long packet type of an Initial (RFC 9000, RFC 9369)


def of_tcp(port: int, destination: str) -> str:
    """Service that a TCP port stands for, empty if none is known; a public resolver's 443 is DoH."""
    return "doh" if port == 443 and destination in _DOH_ADDRESSES else _TCP.get(port, "")


def of_udp(port: int, data: bytes) -> str:
    """Service of a datagram, by what it is where that shows, else by its port; empty if neither tells."""
    if is_quic_initial(data):
        return "doq" if port in (784, DOT) else "quic"
    if len(data) >= 20 and data[0] < 4 and struct.unpack_from("!I", data, 4)[0] == _STUN_COOKIE:
        return "stun"
    if len(data) >= 13 and data[0] == 22 and data[1:3] in (b"\xfe\xff", b"\xfe\xfd"):
        return "dtls"
    return _UDP.get(port, "")


def is_warning(service: str, destination: str) -> bool:
    """Whether it is talk to neighbours (a group or broadcast address), which no router would let out.

    The same service to an ordinary address is an attempt like any other: a tunnel may use port 5353.
    """
    if service not in _OF_THE_LINK:
        return False
    address = ipaddress.ip_address(destination)
    return address.is_multicast or address.is_link_local or destination == "255.255.255.255"


def is_doh_host(name: str | None) -> bool:
    """Whether a name is one of a public resolver, or below one."""
    labels = (name or "").split(".")
    return any(".".join(labels[at:]) in _DOH_HOSTS for at in range(len(labels)))


def is_quic_initial(data: bytes) -> bool:
    """A QUIC long header of type Initial, version 1 or 2, of at least the length that the standard asks (1200)."""
    if len(data) < 1200 or data[0] & 0xC0 != 0xC0:
        return False
    return _QUIC_INITIAL.get(struct.unpack_from("!I", data, 1)[0]) == (data[0] >> 4) & 3


def is_quic_long(data: bytes) -> bool:
    """A QUIC long header of any version, the connection ids whole: what a server may answer with other versions."""
    if len(data) < 7 or data[0] & 0xC0 != 0xC0 or data[1:5] == bytes(4):
        return False
    at = 6 + data[5]
    return len(data) > at and len(data) > at + data[at]
