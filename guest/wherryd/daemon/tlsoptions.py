"""TLS on TCP: `--tls --tlsverify --tlscacert --tlscert --tlskey`, with dockerd's names and defaults.

Source: Docker's manual, "Protect the Docker daemon socket".
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wherryd.errors import InvalidParameter

#: Option's name -> default, as options.py has them; "" is <folder of certificates>/ca.pem, cert.pem, key.pem.
DEFAULTS: Mapping[str, object] = {
    "tls": False,
    "tlsverify": False,
    "tlscacert": "",
    "tlscert": "",
    "tlskey": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """verify: only clients with a certificate of `ca` are served."""

    verify: bool
    ca: Path
    cert: Path
    key: Path


def read(values: Mapping[str, object]) -> TlsOptions | None:
    """None without TLS. As in dockerd, --tlsverify is enough."""
    if not (values["tls"] or values["tlsverify"]):
        return None
    folder = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    return TlsOptions(
        verify=bool(values["tlsverify"]),
        ca=Path(str(values["tlscacert"] or folder / "ca.pem")),
        cert=Path(str(values["tlscert"] or folder / "cert.pem")),
        key=Path(str(values["tlskey"] or folder / "key.pem")),
    )


def context_of(options: TlsOptions) -> "ssl.SSLContext":
    """Raises InvalidParameter for a file that is not there or is no certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    for file, option in ((options.cert, "--tlscert"), (options.key, "--tlskey")):
        _check(file, option)
    try:
        made.load_cert_chain(options.cert, options.key, password=_no_password)
    except (OSError, ValueError) as exc:
        raise InvalidParameter(f"--tlscert {options.cert}, --tlskey {options.key}: {exc}") from exc
    if options.verify:
        _check(options.ca, "--tlscacert")
        try:
            made.load_verify_locations(options.ca)
        except (OSError, ValueError) as exc:
            raise InvalidParameter(f"--tlscacert {options.ca}: {exc}") from exc
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def _check(file: Path, option: str) -> None:
    if not file.is_file():
        raise InvalidParameter(
            f"{option} {file}: there is no such file (hint: name a PEM file, or set DOCKER_CERT_PATH)"
        )


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one without a password")
