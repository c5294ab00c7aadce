"""Certificates that are right in all but the one thing that counts: the very name asked for, by a CA nobody trusts."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
import tempfile
from functools import cached_property, lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM = serialization.Encoding.PEM
NOBODY = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA nobody knows")])


class Stranger:
    """One CA, made at the start, and a TLS server context for each name (or address) that is asked for."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self.context = lru_cache(maxsize=1024)(self._context)

    @cached_property
    def authority(self) -> x509.Certificate:
        """The CA's own certificate; a client that has it here, for a test, trusts the stranger."""
        made = _begun(NOBODY, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        return made.sign(self._key, hashes.SHA256())

    def _context(self, name: str) -> ssl.SSLContext:
        """`name`: a host name, or a numeric address for a client that names none."""
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        certificate = (
            _begun(subject, self._leaf_key.public_key(), x509.BasicConstraints(ca=False, path_length=None))
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = self._leaf_key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as chain:
            chain.write(private + certificate.public_bytes(_PEM) + self.authority.public_bytes(_PEM))
            chain.flush()
            context.load_cert_chain(chain.name)
        return context

    def greet(self, default: str, heard: dict[str, object]) -> ssl.SSLContext:
        """A context for one connection: it answers for the SNI, which is put down in `heard`, or else for `default`."""
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def chosen(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            heard["name"] = name.lower() if name else None
            with contextlib.suppress(ValueError):  # a name that no certificate can bear: refused by TLS
                connection.context = self.context(name.lower() if name else default)
                return None
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)

        own.sni_callback = chosen
        return own


def _begun(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, constraints: x509.BasicConstraints
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(NOBODY)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=90))
        .add_extension(constraints, critical=True)
    )
