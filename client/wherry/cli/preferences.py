"""What docker's own config.json says of output, keys and proxies: who has set it there expects it here.

    psFormat imagesFormat networksFormat volumesFormat statsFormat    --format, if it is not given
    detachKeys                                                       --detach-keys, if it is not given
    proxies   {engine's address or "default": {httpProxy, httpsProxy, ftpProxy, noProxy, allProxy}}
              set in every new container and for every build, unless -e or --build-arg says otherwise
    pruneFilters  [label=..., label!=...]: of every prune, unless --filter says otherwise

Logins are in engine/logins.py. Source: docker CLI reference, "Docker CLI configuration file".
"""

from collections.abc import Iterable

from wherry.engine import dockerconfig

_PROXIES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "noProxy": "NO_PROXY",
    "allProxy": "ALL_PROXY",
}


def text(name: str) -> str:
    """A field of the file; "" if it, or the file, is not there."""
    value = dockerconfig.document().get(name)
    return value if isinstance(value, str) else ""


def prune_filters(given: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """given, and those of the file that it does not contradict. Only labels count there, as in docker."""
    pairs = list(given)
    known = dockerconfig.document().get("pruneFilters")
    for item in known if isinstance(known, list) else ():
        key, _, value = str(item).partition("=")
        if key == "label" and ("label!", value) not in pairs and (key, value) not in pairs:
            pairs.append((key, value))
        if key == "label!" and ("label", value) not in pairs and (key, value) not in pairs:
            pairs.append((key, value))
    return pairs


def proxies(engine: str, env: Iterable[str]) -> list[str]:
    """NAME=value for a new container. engine: its address. env: what the container gets anyway."""
    known = dockerconfig.document().get("proxies")
    if not isinstance(known, dict):
        return []
    chosen = known.get(engine) or known.get("default")
    if not isinstance(chosen, dict):
        return []
    given = {item.partition("=")[0] for item in env}
    made = []
    for field, name in _PROXIES.items():
        value = chosen.get(field)
        # Programs disagree on the case, so both are set.
        made += [f"{each}={value}" for each in (name, name.lower()) if value and each not in given]
    return made
