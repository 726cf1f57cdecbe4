"""The one place where an engine error becomes an HTTP status. A test walks the tree to prove it whole."""

from collections.abc import Mapping

from wherryd import errors

#: Nearest class in an error's ancestry wins.
STATUS: Mapping[type[errors.EngineError], int] = {
    errors.NotFound: 404,
    errors.InvalidParameter: 400,
    errors.Conflict: 409,
    errors.NotModified: 304,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.Unavailable: 503,
    errors.NotSupported: 501,
    errors.SystemFault: 500,
}


def status_for(error: errors.EngineError) -> int:
    """The HTTP status. A program that is missing or not executable is the request's fault (400), as in
    dockerd, whose clients make exit status 127 or 126 of the message."""
    if isinstance(error, errors.RuntimeFault) and error.exit_code in (126, 127):
        return 400
    for ancestor in type(error).__mro__:
        if ancestor in STATUS:
            return STATUS[ancestor]
    return 500
