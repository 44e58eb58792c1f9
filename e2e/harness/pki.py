"""Certificates of one throw-away cluster: authorities, clients, servers, and kubeconfigs.

Elliptic keys throughout, also for signing ServiceAccount tokens: an RSA key costs more time than
all the others together. Everything is valid for a week from five minutes ago.
"""

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FOR = datetime.timedelta(days=7)
BACKDATED_BY = datetime.timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """Files of a certificate and its private key, PEM."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that writes what it issues into one directory."""

    def __init__(self, directory: Path, base: str, common_name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(common_name, ())
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        builder = builder.add_extension(_signing_usage(), True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        self.files = _write_pair(directory, base, certificate, self._key)

    @property
    def certificate(self) -> Path:
        """The authority's own certificate, what others must trust."""
        return self.files.certificate

    def issue(
        self,
        base: str,
        common_name: str,
        organizations: Sequence[str] = (),
        *,
        ips: Sequence[str] = (),
        dns: Sequence[str] = (),
    ) -> KeyPair:
        """A certificate for a client and, when it has addresses or names, for a server as well."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(common_name, organizations), self._name, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
        names += [x509.DNSName(name) for name in dns]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if names:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
        return _write_pair(self._directory, base, builder.sign(self._key, hashes.SHA256()), key)


def write_token_keys(directory: Path) -> KeyPair:
    """The key that signs ServiceAccount tokens, and its public half (in `certificate`)."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = directory / "sa.pub"
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    private = directory / "sa.key"
    _write_private(private, _pem(key, serialization.PrivateFormat.TraditionalOpenSSL))
    return KeyPair(certificate=public, key=private)


def write_kubeconfig(path: Path, *, server: str, authority: Path, client: KeyPair) -> Path:
    """A self-contained kubeconfig (JSON, which every reader of YAML takes)."""
    user = path.stem
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "thinkscale",
                "cluster": {"server": server, "certificate-authority-data": _base64(authority)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _base64(client.certificate),
                    "client-key-data": _base64(client.key),
                },
            }
        ],
        "contexts": [{"name": "thinkscale", "context": {"cluster": "thinkscale", "user": user}}],
        "current-context": "thinkscale",
    }
    _write_private(path, json.dumps(config, indent=1).encode())
    return path


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED_BY)
        .not_valid_after(now + VALID_FOR)
    )


def _signing_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str, organizations: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _write_pair(
    directory: Path, base: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> KeyPair:
    pair = KeyPair(certificate=directory / f"{base}.crt", key=directory / f"{base}.key")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_private(pair.key, _pem(key, serialization.PrivateFormat.PKCS8))
    return pair


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _pem(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
