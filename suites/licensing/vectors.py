"""Hostile licences. Each is valid in everything but the one thing it is named after, so that acceptance would show."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from environments.contract import Node, Vendor
from suites.licensing.compact import canonical, decode, encode, flip, header_of, join, keyed, parts

SIGNATURE, ALGORITHM, KEY, MALFORMED = "LICENCE_SIGNATURE", "LICENCE_ALGORITHM", "LICENCE_KEY", "LICENCE_MALFORMED"
TAMPERED = frozenset({SIGNATURE, ALGORITHM, KEY, MALFORMED, "LICENCE_TYPE"})  # depends on the bit
NOWHERE = "198.51.100.23"  # TEST-NET-2: an address that belongs to nobody


@dataclass(frozen=True)
class Vector:
    name: str
    body: bytes
    codes: frozenset[str]  # the refusals that name the fault rightly


def vector(name: str, text: str | bytes, *codes: str) -> Vector:
    return Vector(name, text.encode() if isinstance(text, str) else text, frozenset(codes))


# LIC-02


def bit_flips(text: str, seed: int) -> Iterator[Vector]:
    """Every byte of the text and of its decoded parts once, the bit by seed; every bit of the last byte of each part,
    where base64url has bits that mean nothing."""
    rng = random.Random(seed)
    raw, ends = text.encode(), {len(text) - 1, *(i - 1 for i, c in enumerate(text) if c == ".")}
    for position in range(len(raw)):
        for bit in range(8) if position in ends else (rng.randrange(8),):
            yield Vector(f"text byte {position} bit {bit}", flip(raw, position, bit), TAMPERED)
    names = ("header", "payload", "signature")
    decoded = [decode(part) for part in parts(text)]
    for index, name in enumerate(names):
        for position in range(len(decoded[index])):
            bit = rng.randrange(8)
            changed = [*decoded[:index], flip(decoded[index], position, bit), *decoded[index + 1 :]]
            yield Vector(f"{name} byte {position} bit {bit}", ".".join(map(encode, changed)).encode(), TAMPERED)


def field_changes(text: str, claims: dict[str, object]) -> Iterator[Vector]:
    """Each claim with another value under the genuine header and signature."""
    header, _, signature = parts(text)
    others: dict[str, object] = {"exp": 4102444800, "nbf": 0, "seats": 10**6, "features": ["everything"]}
    for name, value in claims.items():
        changed = {**claims, name: others.get(name, f"{value}x")}
        yield vector(f"claim {name}", f"{header}.{encode(canonical(changed))}.{signature}", SIGNATURE)
    yield vector("claim added", f"{header}.{encode(canonical({**claims, 'unlimited': True}))}.{signature}", SIGNATURE)
    yield vector("claim removed", f"{header}.{encode(canonical({**claims, 'exp': None}))}.{signature}", SIGNATURE)


# LIC-03


def algorithms(vendor: Vendor, node: Node) -> Iterator[Vector]:
    """The header tries to choose the algorithm. The kid is the vendor's, so that nothing else is wrong."""
    claims = vendor.licence_claims(node)
    genuine = vendor.sign("licence", claims)
    header, payload = header_of(genuine), canonical(claims)
    for name in ("none", "None", "NONE", "nOnE", ""):
        yield vector(f"alg {name!r}, no signature", join({**header, "alg": name}, payload, b""), ALGORITHM)
    yield vector("alg none over a genuine signature", vendor.sign("licence", claims, header={"alg": "none"}), ALGORITHM)
    yield vector("EdDSA with an empty signature", join(header, payload, b""), SIGNATURE, MALFORMED)
    yield vector("signature part cut off", genuine.rpartition(".")[0], SIGNATURE, MALFORMED)
    yield vector("EdDSA with 64 zero bytes", join(header, payload, bytes(64)), SIGNATURE)
    for label, secret in public_key_forms(vendor):
        forged = keyed({**header, "alg": "HS256"}, payload, secret)
        yield vector(f"HS256 keyed with the public key ({label})", forged, ALGORITHM)
    raw = decode(str(vendor.public_jwk()["x"]))
    for name in ("HS384", "HS512"):
        yield vector(f"{name} keyed with the public key", keyed({**header, "alg": name}, payload, raw), ALGORITHM)
    yield from _asymmetric(header, payload)
    for name in ("eddsa", "EDDSA", "EdDSA ", "Ed448", "XYZ"):
        yield vector(f"alg {name!r}", vendor.sign("licence", claims, header={"alg": name}), ALGORITHM)
    yield vector("alg missing", vendor.sign("licence", claims, header={"alg": None}), ALGORITHM, MALFORMED)
    for value in (["EdDSA"], {"name": "EdDSA"}, 0, True):
        yield vector(f"alg {value!r}", vendor.sign("licence", claims, header={"alg": value}), ALGORITHM, MALFORMED)


def public_key_forms(vendor: Vendor) -> Iterator[tuple[str, bytes]]:
    """The bytes that a confused verifier would feed to HMAC."""
    jwk = vendor.public_jwk()
    raw = decode(str(jwk["x"]))
    public = Ed25519PublicKey.from_public_bytes(raw)
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    yield "raw", raw
    yield "PEM", pem
    yield "PEM without its last newline", pem.rstrip()
    yield "DER", public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    yield "base64url x", str(jwk["x"]).encode()
    yield "JWK", canonical(dict(jwk))


def _asymmetric(header: dict[str, object], payload: bytes) -> Iterator[Vector]:
    """Genuine signatures of other algorithms, by keys of the attacker's own."""
    private = rsa.generate_private_key(65537, 2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    for name, scheme in (("RS256", padding.PKCS1v15()), ("PS256", pss)):
        text = f"{encode(canonical({**header, 'alg': name}))}.{encode(payload)}"
        yield vector(name, f"{text}.{encode(private.sign(text.encode(), scheme, hashes.SHA256()))}", ALGORITHM)
    text = f"{encode(canonical({**header, 'alg': 'ES256'}))}.{encode(payload)}"
    curve = ec.generate_private_key(ec.SECP256R1()).sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    yield vector("ES256", f"{text}.{encode(curve)}", ALGORITHM)
    yield vector("ES256 with a zero signature", f"{text}.{encode(bytes(64))}", ALGORITHM)


# LIC-04


def keys(vendor: Vendor, node: Node) -> Iterator[Vector]:
    """The document tries to bring its own key. Signed by a stranger: accepted only by whoever takes the key from it."""
    claims = vendor.licence_claims(node)
    stranger = dict(vendor.public_jwk("stranger"))
    ours = str(vendor.public_jwk()["kid"])
    theirs = str(stranger.get("kid", "stranger"))

    def forged(name: str, *codes: str, **header: object) -> Vector:
        return vector(name, vendor.sign("licence", claims, header=header, key="stranger"), *codes)

    yield forged("self-signed under a kid of its own", KEY, kid=theirs)
    yield forged("self-signed under the vendor's kid", SIGNATURE, kid=ours)
    yield forged("no kid", KEY, MALFORMED, kid=None)
    for label, kid in (("its own kid", theirs), ("the vendor's kid", ours), ("no kid", None)):
        yield forged(f"jwk in the header, {label}", KEY, jwk=stranger, kid=kid)
        yield forged(f"jku in the header, {label}", KEY, jku=f"http://{NOWHERE}/keys.json", kid=kid)
        yield forged(f"x5u in the header, {label}", KEY, x5u=f"http://{NOWHERE}/cert.pem", kid=kid)
    yield forged("jku by name", KEY, jku="https://keys.attacker.invalid/jwks.json", kid=theirs)
    yield forged("jku on the node itself", KEY, jku="file:///dev/null", kid=theirs)
    yield forged("x5c in the header", KEY, x5c=[_certificate()], kid=theirs)
    for kid in ("../../../../../../dev/null", "/dev/null", "file:///dev/null", f"http://{NOWHERE}/key", "", "*", "%00"):
        yield forged(f"kid {kid!r}", KEY, MALFORMED, kid=kid)
    x = str(stranger["x"])
    sql = ("' OR '1'='1", f"x' UNION SELECT '{x}' -- ")
    for kid in (*sql, "$(cat /dev/null)", "{{7*7}}", f"{ours}\u0000x", f" {ours}"):
        yield forged(f"kid {kid!r}", KEY, MALFORMED, kid=kid)
    for value in ([ours], {"$ne": None}, 0, True):
        yield forged(f"kid {value!r}", KEY, MALFORMED, kid=value)


def _certificate() -> str:
    """A self-signed certificate, base64 of its DER, as x5c carries it."""
    import base64
    from datetime import UTC, datetime, timedelta

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "companyos-vendor")])
    start = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


# LIC-07


def wrong_claims(vendor: Vendor, node: Node) -> Iterator[tuple[str, Vector]]:
    """(claim, vector): genuine licences, each of somebody or something else."""
    other_mode = "D" if node.mode != "D" else "Ca"
    wrong: dict[str, tuple[object, ...]] = {
        "aud": ("somebody-else", "COMPANYOS", "companyos ", ["somebody-else"], "", None),
        "product": ("other-product", "CompanyOS", "", None),
        "mode": (other_mode, "A", str(node.mode).swapcase() + "x", "", "*", None),
        "customer": ("globex-corp", node.customer.upper(), node.customer + " ", "", "*", None),
        "instance": ("instance-of-another-node", node.instance + "0", node.instance[:-1], "", "*", None),
    }
    names = {"aud": "AUDIENCE"}
    for claim, values in wrong.items():
        code = f"LICENCE_{names.get(claim, claim.upper())}"
        for value in values:
            codes = (code,) if value is not None and value != "" else (code, MALFORMED)
            text = vendor.sign("licence", vendor.licence_claims(node, **{claim: value}))
            yield claim, vector(f"{claim} {value!r}", text, *codes)
