"""Which extended attributes a COPY takes over. Source: xattr(7); BuildKit keeps the same ones."""


def is_copied(name: str) -> bool:
    return name == "security.capability" or name.startswith("user.")
