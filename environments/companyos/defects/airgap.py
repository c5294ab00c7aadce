"""Known-bad bundles and things that reach out. Nothing is sent but to documentation addresses, and only where the
driver has sealed the site (CONFORM_SEALED=1)."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from environments.companyos import bundle, bundle_manifest, jws, tarstream
from environments.companyos.defects import defect
from environments.companyos.defects.licensing import NOBODY, SEALED, reach_out
from environments.companyos.errors import ApiError
from environments.companyos.services import Services

RESOLVER, NOBODY_V6 = "192.0.2.53", "2001:db8::99"  # TEST-NET-1 and the documentation prefix
EGRESS = ("AIR-01", "AIR-03")


def sealed() -> bool:
    return os.environ.get("CONFORM_SEALED") == "1"


def datagram(address: str, port: int, content: bytes) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if sealed():
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(content, (address, port))


def every(seconds: float, act: Callable[[], object]) -> None:
    """In a thread of its own, at once and then every so often."""

    def loop() -> None:
        pause = threading.Event()
        while True:
            act()
            pause.wait(seconds)

    threading.Thread(target=loop, name="telemetry", daemon=True).start()


# egress


@defect(kills=EGRESS, modes=SEALED)
def resolves_at_boot(services: Services) -> None:
    """One DNS lookup at boot, of a name that nothing needs (gravitational/gravity#257)."""
    if sealed():

        def look_up() -> None:
            with contextlib.suppress(OSError):
                socket.getaddrinfo("updates.companyos.example", 443)

        threading.Thread(target=look_up, daemon=True).start()


@defect(kills=EGRESS, modes=SEALED)
def second_telemetry_service(services: Services) -> None:
    """The licence heartbeat obeys the switch, a second telemetry service does not (BetterDB-inc/monitor#322)."""
    every(0.7, lambda: reach_out(timeout_s=0.2))


@defect(kills=EGRESS, modes=SEALED)
def reports_errors_upstream(services: Services) -> None:
    """A crash reporter sends failed logins to its maker."""
    login = services.identity.login

    def replaced(tenant: str, username: str, password: str) -> str:
        try:
            return login(tenant, username, password)
        except ApiError:
            reach_out(timeout_s=0.2)
            raise

    services.identity.login = replaced  # type: ignore[method-assign]


@defect(kills=EGRESS, modes=SEALED)
def hard_coded_resolver(services: Services) -> None:
    """A name is asked of a public resolver by its address, past the site's own resolver."""
    question = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\x07updates\x07example\0" + struct.pack("!HH", 1, 1)
    every(1.0, lambda: datagram(RESOLVER, 53, question))


@defect(kills=EGRESS, modes=SEALED)
def quic_beacon(services: Services) -> None:
    """A beacon over QUIC, which a watch on TCP and DNS does not see."""
    every(1.0, lambda: datagram(NOBODY, 443, b"\xc0\x00\x00\x00\x01" + bytes(1195)))


@defect(kills=EGRESS, modes=SEALED)
def ntp_beacon(services: Services) -> None:
    """The time is asked of a server on the internet."""
    every(1.0, lambda: datagram(NOBODY, 123, b"\x23" + bytes(47)))


@defect(kills=EGRESS, modes=SEALED)
def ipv6_beacon(services: Services) -> None:
    """IPv4 is watched; the beacon goes over IPv6."""
    every(1.0, lambda: datagram(NOBODY_V6, 443, b"beacon"))


@defect(kills=("AIR-02",), modes=SEALED)
def waits_for_a_name(services: Services) -> None:
    """Every start but the first looks for updates, and is not ready until it has found none for a while
    (elastic/kibana#174187)."""
    mark = services.config.data_dir / f".started-{services.role}"
    if sealed() and mark.exists():
        until = time.monotonic() + 14  # longer than a node may take, and not so long that nothing mends it
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                socket.getaddrinfo("updates.companyos.example", 443)
                return
            threading.Event().wait(0.5)
    mark.touch()


@defect(kills=("AIR-04",), modes=SEALED)
def trusts_any_update_server(services: Services) -> None:
    """The update check is made with the verification of certificates switched off."""
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE

    def look() -> None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((NOBODY, 443), 1.0) as plain,
            careless.wrap_socket(plain, server_hostname="updates.companyos.example") as hidden,
        ):
            hidden.sendall(b"GET /v1/updates HTTP/1.1\r\nHost: updates.companyos.example\r\n\r\n")
            hidden.recv(1000)

    if sealed():
        every(1.0, look)


@defect(kills=("AIR-04",), modes=SEALED)
def believes_any_time_server(services: Services) -> None:
    """The clock is set by whoever answers an NTP question."""
    now, ahead_s = services.clock.now, [0.0]

    def ask() -> None:
        offset_s = 0.0
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.3)
            client.connect((NOBODY, 123))
            client.send(b"\x23" + bytes(47))
            offset_s = struct.unpack("!I", client.recv(100)[40:44])[0] - 2_208_988_800 - now()
        ahead_s[0] = offset_s

    services.clock.now = lambda: now() + ahead_s[0]  # type: ignore[method-assign]
    if sealed():
        every(0.3, ask)


@defect(kills=("AIR-03",), modes=SEALED)
def honours_proxy_env(services: Services) -> None:
    """An update check runs as soon as the environment names a proxy."""
    proxy = os.environ.get("HTTPS_PROXY", "").removeprefix("http://")
    if proxy:
        host, _, port = proxy.partition(":")
        every(1.0, lambda: reach_out(host, int(port), 0.2))


# verification


@defect(kills=("AIR-07",), modes=SEALED)
def no_key_no_verification(services: Services) -> None:
    """Without a configured key there is nothing to verify with, so nothing is verified (OPA GHSA-g2pf-6v5v-qcc8)."""
    verify, unverified = bundle.verify, jws.Verified

    def replaced(services: Services, fd: int) -> bundle.Checked:
        if services.config.trust_roots:
            return verify(services, fd)
        members = list(tarstream.members(fd, os.fstat(fd).st_size))
        _, _, payload = bundle.read_manifest(fd, members[0]).partition(b".")
        raw = jws.decode_part(payload.split(b".")[0].decode())
        manifest = bundle_manifest.check(unverified({}, jws.parse_json(raw), "").payload)
        return bundle.Checked(manifest, bundle.read_manifest(fd, members[0]), tuple(members[1:]))

    bundle.verify = replaced


def unsigned_payload(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = jws.parse_json(jws.decode_part(raw.decode().split(".")[1]))
    return found


@defect(kills=("AIR-07", "AIR-08"), modes=SEALED)
def verifies_only_if_signed(services: Services) -> None:
    """A bundle that was stripped of its signature counts as one that need not be signed."""
    verify = bundle.verify_manifest

    def replaced(services: Services, raw: bytes) -> dict[str, Any]:
        stripped = raw.count(b".") == 1 or (raw.count(b".") == 2 and raw.endswith(b"."))
        return unsigned_payload(raw) if stripped else verify(services, raw)

    bundle.verify_manifest = replaced


@defect(kills=("AIR-07",), modes=SEALED)
def env_skips_verification(services: Services) -> None:
    """A variable of the developers' switches verification off in production too."""
    if os.environ.get("COMPANYOS_SKIP_VERIFY"):
        bundle.verify_manifest = lambda services, raw: unsigned_payload(raw)


@defect(kills=("AIR-07", "AIR-08"), modes=SEALED)
def extracts_before_verifying(services: Services) -> None:
    """The archive is unpacked to look at its manifest; refusing it afterwards leaves the files there."""
    verify = bundle.verify

    def replaced(services: Services, fd: int) -> bundle.Checked:
        with contextlib.suppress(tarfile.TarError, OSError), tarfile.open(f"/proc/self/fd/{fd}") as archive:
            archive.extractall(bundle.releases(services) / "incoming", filter="data")
        return verify(services, fd)

    bundle.verify = replaced


@defect(kills=("AIR-08",), modes=SEALED)
def trusts_key_in_bundle(services: Services) -> None:
    """The verifier takes the public key from the bundle that it verifies, as the public product's does."""
    verify = bundle.verify_manifest

    def replaced(services: Services, raw: bytes) -> dict[str, Any]:
        try:
            return verify(services, raw)
        except ApiError:
            text, header, signature = jws.split(raw, bundle.MAX_MANIFEST_BYTES)
            if "jwk" not in header:
                raise
            jws.check_signature(text, signature, header["jwk"])
            return unsigned_payload(raw)

    bundle.verify_manifest = replaced


@defect(kills=("AIR-08",), modes=SEALED)
def last_entry_wins(services: Services) -> None:
    """Of two members of one name the last one counts, for the verifier and the unpacker alike."""
    read = tarstream.members

    def replaced(fd: int, total: int) -> Iterator[tarstream.Member]:
        yield from {member.path: member for member in read(fd, total)}.values()

    tarstream.members = replaced


@defect(kills=("AIR-08",), modes=SEALED)
def checksums_skip_nested(services: Services) -> None:
    """Digests are compared at the top level only, as the public product's checksums skip nested fields."""
    check = bundle.check_members

    def replaced(fd: int, manifest: Any, members: list[tarstream.Member]) -> None:
        for member in members:
            listed = manifest.members.get(member.path)
            if listed is not None and listed.type == "file" and "/" in member.path:
                manifest.members[member.path] = replace(listed, sha256=bundle.digest(fd, member), size=member.size)
        check(fd, manifest, members)

    bundle.check_members = replaced


@defect(kills=("AIR-08",), modes=SEALED)
def extra_members_welcome(services: Services) -> None:
    """Members that the manifest does not list are unpacked with the others."""
    check = bundle.check_members

    def replaced(fd: int, manifest: Any, members: list[tarstream.Member]) -> None:
        for m in members:
            if m.path not in manifest.members and m.kind == tarstream.FILE:
                listed = bundle_manifest.Listed(m.path, "package", m.size, bundle.digest(fd, m), "file", None)
                manifest.members[m.path] = listed
        check(fd, manifest, members)

    bundle.check_members = replaced


@defect(kills=("AIR-08",), modes=SEALED)
def missing_members_tolerated(services: Services) -> None:
    """What is there is checked; what is not there is not missed."""
    check = bundle.check_members

    def replaced(fd: int, manifest: Any, members: list[tarstream.Member]) -> None:
        for path in manifest.members.keys() - {member.path for member in members}:
            del manifest.members[path]
        check(fd, manifest, members)

    bundle.check_members = replaced


@defect(kills=("AIR-08",), modes=SEALED)
def folding_names_collide(services: Services) -> None:
    """Names that are one on a file system that folds case are taken for two."""
    bundle_manifest.check_collisions = lambda paths: None


# archive attacks


@defect(kills=("AIR-09",), modes=SEALED)
def paths_not_checked(services: Services) -> None:
    """Zip slip: the member's name is joined to the folder as it is."""
    bundle_manifest.check_path = lambda path: None


@defect(kills=("AIR-09",), modes=SEALED)
def strips_dots_once(services: Services) -> None:
    """`../` is removed from names, once: `....//` becomes `../`. (The OWASP sheet's own sample does so.)"""
    bundle_manifest.check_path = lambda path: None
    write = bundle.write_member

    def replaced(fd: int, root: Path, member: tarstream.Member, manifest: Any) -> None:
        manifest.members[cleaned(member.path)] = manifest.members[member.path]
        write(fd, root, replace(member, path=cleaned(member.path)), manifest)

    bundle.write_member = replaced


def cleaned(path: str) -> str:
    return path.replace("../", "").lstrip("/")


@defect(kills=("AIR-09",), modes=SEALED)
def links_not_resolved(services: Services) -> None:
    """A link's target is not followed before it is made: it may lead anywhere."""
    bundle_manifest.check_tree = lambda members: None


@defect(kills=("AIR-09",), modes=SEALED)
def links_checked_as_text(services: Services) -> None:
    """A target is called safe when it neither begins with / nor with ..; what it means through other links is not
    asked."""

    def naive(path: str, target: str, members: Any) -> str:
        if target.startswith(("/", "..")):
            raise bundle_manifest.refuse("PATH", "a link that leads out")
        return str(next(iter(members)))

    bundle_manifest.resolve = naive


@defect(kills=("AIR-09",), modes=SEALED)
def modes_kept(services: Services) -> None:
    """Setuid, setgid and sticky bits of members are not looked at."""
    check = bundle.check_kind
    bundle.check_kind = lambda member: check(replace(member, mode=member.mode & 0o777))


@defect(kills=("AIR-09",), modes=SEALED)
def refuses_every_link(services: Services) -> None:
    """Links are refused altogether, those that stay inside too."""
    check = bundle.check_kind

    def replaced(member: tarstream.Member) -> None:
        check(member)
        if member.kind == tarstream.SYMLINK:
            raise bundle_manifest.refuse("MEMBER_TYPE", "a link")

    bundle.check_kind = replaced


# versions


@defect(kills=("AIR-11",), modes=SEALED)
def any_version_goes(services: Services) -> None:
    """Whatever the vendor signed once may be applied again, with its old holes."""
    bundle.check_version = lambda services, manifest, raw: None


@defect(kills=("AIR-11",), modes=SEALED)
def versions_compared_as_text(services: Services) -> None:
    """As text, 1.9 is higher than 1.10."""
    bundle.parse_version = lambda text: tuple(map(ord, text))


@defect(kills=("AIR-11",), modes=SEALED)
def version_kept_in_memory(services: Services) -> None:
    """The highest version is remembered until the next restart."""
    kept: dict[str, str] = {}
    remember = bundle.remember

    def replaced(services: Services, version: str) -> None:
        kept["highest"] = version
        remember(services, version)

    bundle.remember, bundle.highest = replaced, lambda services: kept.get("highest")


@defect(kills=("AIR-11",), modes=SEALED)
def rollback_to_anything(services: Services) -> None:
    """A rollback that the vendor signed for one version opens the way to any other."""
    check = bundle.check_version

    def replaced(services: Services, manifest: Any, raw: bytes) -> None:
        if manifest.allow_rollback_to is None:
            check(services, manifest, raw)

    bundle.check_version = replaced
