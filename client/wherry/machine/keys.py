"""The key pair of a machine, made before its first boot. No key is shared between machines."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


def make_key_pair(private_key: Path, public_key: Path, *, comment: str) -> str:
    """Writes an Ed25519 pair in OpenSSH's formats; returns the public line. The private file is 0600."""
    key = Ed25519PrivateKey.generate()
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + f" {comment}"
    private_key.touch(mode=0o600)
    private_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public_key.write_text(line + "\n", encoding="ascii")
    return line
