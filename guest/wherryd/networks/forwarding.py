"""Forwarding of IPv6 packets, a switch of the whole host. Source: Documentation/networking/ip-sysctl."""

from pathlib import Path

from wherryd.networks import links

_CONF = Path("/proc/sys/net/ipv6/conf")


def enable_ipv6() -> None:
    """Idempotent. Raises KernelFault ENOENT where the kernel has no IPv6.

    A host that forwards drops the default route that it learned from router advertisements, unless
    accept_ra is 2: so that goes first, for every device that listens to them now.
    """
    if _read("all/forwarding") == "1":
        return
    for folder in sorted(_CONF.iterdir()) if _CONF.is_dir() else ():
        if folder.name != "all" and _read(f"{folder.name}/accept_ra") == "1":
            links.write_sysctl(f"net/ipv6/conf/{folder.name}/accept_ra", "2")
    links.write_sysctl("net/ipv6/conf/all/forwarding", "1")


def _read(name: str) -> str:
    try:
        return (_CONF / name).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
