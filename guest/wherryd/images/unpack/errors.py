"""Errors inside the unpacking child. They cross to the engine as text and become its own there."""


class ArchiveError(Exception):
    """The archive is damaged, too large or hostile: the sender's fault. The message names the entry."""
