"""The vendor: signs licences, bundles, policies, exports. For drivers and tests; no service of a node imports it.

The keys are test keys, made here. `vendor` is trusted by the nodes of a deployment, `stranger` by none.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joserfc import jws as jose
from joserfc.jwk import ECKey, OKPKey

from environments.companyos import files, jws, opa_bundle, rego_lint

if TYPE_CHECKING:
    from environments.contract.deployment import Node, Vendor

KEYS = ("vendor", "stranger")
BUNDLE_KINDS = ("image", "package", "policy", "model", "sbom")


class VendorAuthority:
    """Implements the contract's Vendor. `folder`: where the private keys are kept (mode 0600); None: in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        self._keys = {name: _load(folder, name) for name in KEYS}
        self._policy_keys = {name: _load_policy_key(folder, name) for name in KEYS}

    def sign(
        self,
        kind: str,
        payload: Mapping[str, Any] | bytes,
        *,
        header: Mapping[str, Any] | None = None,
        key: str = "vendor",
    ) -> str:
        """Compact JWS of `kind` (licence, bundle, policy, export, node-key). See the contract's Vendor. With a policy
        goes the signature of its bundle for OPA."""
        if kind == "policy" and isinstance(payload, Mapping) and "opa" not in payload and opa_bundle.signable(payload):
            payload = {**payload, "opa": self.sign_bundle(payload["revision"], payload["modules"], key=key)}
        return jws.sign(kind, payload, self._keys[key], header)

    def public_jwk(self, key: str = "vendor") -> Mapping[str, Any]:
        return dict(self._keys[key].as_dict(private=False))

    def trust_roots(self) -> list[dict[str, Any]]:
        """For NodeConfig.trust_roots."""
        return [dict(self.public_jwk())]

    def licence_claims(self, node: Node, **changes: Any) -> dict[str, Any]:
        """Claims of a licence valid for the node from a minute ago for a year; None drops a claim."""
        return licence_claims(str(node.mode), node.customer, node.instance, **changes)

    def sign_bundle(self, revision: int, modules: Mapping[str, str], *, key: str = "vendor") -> str:
        """The signature of a policy's bundle, for OPA."""
        header = {"alg": opa_bundle.ALGORITHM, "typ": "JOSE", "kid": opa_bundle.KEY_ID}
        document = json.dumps(opa_bundle.claims(revision, modules)).encode()
        return jose.serialize_compact(header, document, self._policy_keys[key], algorithms=[opa_bundle.ALGORITHM])

    def policy_pem(self, key: str = "vendor") -> str:
        """The public key that verifies it."""
        return self._policy_keys[key].as_pem(private=False).decode()

    def sign_policy(self, revision: int, modules: Mapping[str, str], *, key: str = "vendor") -> str:
        """Signed policy; modules: name -> Rego. ValueError for Rego that not every node evaluates alike."""
        if found := rego_lint.problems(modules):
            raise ValueError(f"the policy is not signed: {'; '.join(found)}")
        return self.sign("policy", {"revision": revision, "modules": dict(modules)}, key=key)

    def build_bundle(
        self,
        path: Path | None,
        version: str,
        contents: Mapping[str, bytes],
        *,
        links: Mapping[str, str] | None = None,
        allow_rollback_to: str | None = None,
        key: str = "vendor",
        manifest: Mapping[str, Any] | None = None,
    ) -> bytes:
        """A genuine bundle, written to `path` if given. `contents`: path -> bytes; `links`: path -> symlink target.
        `manifest` replaces the manifest (to sign a hostile one); members stay those of `contents` and `links`."""
        document = manifest or bundle_manifest(version, contents, links, allow_rollback_to=allow_rollback_to)
        members = [file_member("manifest.jws", self.sign("bundle", document, key=key))]
        members += [file_member(name, content) for name, content in contents.items()]
        members += [link_member(name, target) for name, target in (links or {}).items()]
        raw = tar(members)
        if path is not None:
            path.write_bytes(raw)
        return raw


def enrol(vendor: Vendor, data_dir: Path, node_id: str) -> None:
    """Give a node its key for signing exports, certified by the vendor (any object with the contract's `sign`). Before
    the node exports; kept if it exists. Without it, exports answer UNAVAILABLE."""
    path = data_dir / "keys" / "export.json"
    if path.exists():
        return
    own = OKPKey.generate_key("Ed25519", {"use": "sig"}, auto_kid=True)
    claims = {"node_id": node_id, "jwk": own.as_dict(private=False)}
    certificate = vendor.sign("export", claims, header={"typ": jws.TYPES["node-key"]})
    files.write_atomic(path, json.dumps({"jwk": own.as_dict(private=True), "certificate": certificate}).encode())


def licence_claims(mode: str, customer: str, instance: str, /, **changes: Any) -> dict[str, Any]:
    """See VendorAuthority.licence_claims. Times in seconds since the epoch."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "companyos-vendor",
        "aud": "companyos",
        "product": "companyos",
        "mode": mode,
        "customer": customer,
        "instance": instance,
        "serial": time.time_ns(),
        "nbf": now - 60,
        "exp": now + 365 * 86400,
        "seats": 25,
        "features": ["core"],
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def bundle_manifest(
    version: str,
    contents: Mapping[str, bytes],
    links: Mapping[str, str] | None = None,
    *,
    allow_rollback_to: str | None = None,
    created: str = "2026-01-01T00:00:00Z",
) -> dict[str, Any]:
    """The manifest's payload for these members. The kind of a member is its first folder, if that names one."""
    members: list[dict[str, Any]] = [
        {
            "path": name,
            "kind": bundle_kind(name),
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "type": "file",
        }
        for name, content in contents.items()
    ]
    empty = hashlib.sha256(b"").hexdigest()
    members += [
        {"path": name, "kind": bundle_kind(name), "size": 0, "sha256": empty, "type": "symlink", "target": target}
        for name, target in (links or {}).items()
    ]
    document: dict[str, Any] = {"version": version, "created": created, "members": members}
    if allow_rollback_to is not None:
        document["allow_rollback_to"] = allow_rollback_to
    return document


def bundle_kind(path: str) -> str:
    first = path.partition("/")[0]
    return next((kind for kind in BUNDLE_KINDS if first in (kind, f"{kind}s", f"{kind[:-1]}ies")), "package")


def file_member(path: str, content: bytes | str) -> tuple[tarfile.TarInfo, bytes]:
    raw = content.encode() if isinstance(content, str) else content
    info = tarfile.TarInfo(path)
    info.size = len(raw)
    return info, raw


def link_member(path: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, target
    return info, b""


def tar(members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """An uncompressed tar of exactly these members, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _load(folder: Path | None, name: str) -> OKPKey:
    path = None if folder is None else folder / f"{name}.jwk"
    if path is not None and path.exists():
        return OKPKey.import_key(json.loads(path.read_bytes()))
    key = OKPKey.generate_key("Ed25519", {"use": "sig"}, auto_kid=True)
    if path is not None:
        files.write_atomic(path, json.dumps(key.as_dict(private=True)).encode())
    return key


def _load_policy_key(folder: Path | None, name: str) -> ECKey:
    path = None if folder is None else folder / f"{name}-policy.jwk"
    if path is not None and path.exists():
        return ECKey.import_key(json.loads(path.read_bytes()))
    key = ECKey.generate_key("P-256", {"use": "sig"}, auto_kid=True)
    if path is not None:
        files.write_atomic(path, json.dumps(key.as_dict(private=True)).encode())
    return key
