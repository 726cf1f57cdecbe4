"""The engine's errors, one tree, each class with one meaning.

    EngineError                 carries a message a user can act on
     ├─ NotFound                404  no such container, image, network, exec, path
     ├─ InvalidParameter        400  the request is wrong; says which field and what it wants
     ├─ Conflict                409  right request, wrong moment (name taken, still running)
     ├─ NotModified             304  already so
     ├─ Unauthorized            401
     ├─ Forbidden               403
     ├─ Unavailable             503  the engine cannot do this now (shutting down, not a swarm)
     ├─ NotSupported            501  a part of the API we do not have; says so by name
     └─ SystemFault             500  the kernel or a helper program said no; not the user's fault
          ├─ KernelFault        errno of a system call, with the call and the path
          └─ RuntimeFault       a container could not be started; exit_code is 125, 126 or 127

`api/status.py` maps each class to its HTTP status, and a test proves that none is missing.
Clean-up errors are attached to the first error with `add_note`, never put in its place.
"""

import os


class EngineError(Exception):
    """Base of all errors the engine raises on purpose. `str(error)` is the message for the user.

    place: what the message is about in a file of the user's, shown below it; "" for no such place.
    """

    place = ""

    def __str__(self) -> str:
        return f"{super().__str__()}{self.place}"


class NotFound(EngineError):  # noqa: N818 - named for what happened, as the Engine API does
    pass


class InvalidParameter(EngineError):  # noqa: N818
    pass


class Conflict(EngineError):  # noqa: N818
    pass


class NotModified(EngineError):  # noqa: N818
    pass


class Unauthorized(EngineError):  # noqa: N818
    pass


class Forbidden(EngineError):  # noqa: N818
    pass


class Unavailable(EngineError):  # noqa: N818
    pass


class NotSupported(EngineError):  # noqa: N818
    pass


class SystemFault(EngineError):  # noqa: N818
    pass


class KernelFault(SystemFault):
    """A system call failed. Keeps the call's name, what it was applied to and the errno."""

    def __init__(self, call: str, subject: str, errno: int) -> None:
        super().__init__(f"{call} {subject}: {os.strerror(errno)}")
        self.call = call
        self.subject = subject
        self.errno = errno


class RuntimeFault(SystemFault):
    """A container's process could not be started.

    exit_code: what docker reports for it. 127 the program was not found, 126 it cannot be executed,
    125 the engine itself failed. Source: docker run reference, "Exit status".
    """

    def __init__(self, message: str, exit_code: int = 125) -> None:
        super().__init__(message)
        self.exit_code = exit_code
