"""Certificates for the tests of TLS, made on the spot."""

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Who signs."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.crt"

    def sign(self, name: str, *, days: int = 1) -> tuple[Path, Path]:
        """Return the files of a new certificate, which expired if `days` is negative, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, self.certificate.subject, self.key, days=days)
        return _write(self.folder / f"{self.name}-{name}", certificate, key)


def authority(folder: Path, name: str) -> Authority:
    """Make one."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(name, key, _name(name), key, is_authority=True)
    _write(folder / name, certificate, key)
    return Authority(folder=folder, name=name, key=key, certificate=certificate)


def client_context(authority_file: Path, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """TLS settings of a caller, with or without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(authority_file)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    days: int = 1,
    is_authority: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=10))
    builder = builder.not_valid_after(now + datetime.timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _write(stem: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
    paths = stem.with_name(stem.name + ".crt"), stem.with_name(stem.name + ".key")
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return paths
