class CopyError(Exception):
    """The user's fault: a source that is not there, a file where a folder is needed."""
