"""An authority, an engine's certificate for 127.0.0.1 and a client's, made for one test."""

import datetime
import ipaddress
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificates:
    """folder: holds ca.pem, cert.pem, key.pem (the client's) and server.pem, server-key.pem."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)

    def server(self, *, ask_client: bool = True) -> ssl.SSLContext:
        """As `dockerd --tlsverify` serves; with ask_client=False, as `dockerd --tls` does."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self["server.pem"], self["server-key.pem"])
        if ask_client:
            context.load_verify_locations(self["ca.pem"])
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def make(folder: Path) -> Certificates:
    folder.mkdir(parents=True, exist_ok=True)
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = _name(f"tests {secrets.token_hex(4)}")
    ca = _certificate(issuer, issuer, authority.public_key(), authority, is_ca=True)
    (folder / "ca.pem").write_bytes(ca)
    for file, key_file, name in (
        ("server.pem", "server-key.pem", "engine"),
        ("cert.pem", "key.pem", "client"),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        (folder / file).write_bytes(
            _certificate(_name(name), issuer, key.public_key(), authority, is_ca=False)
        )
        (folder / key_file).write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return Certificates(folder)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool,
) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)
