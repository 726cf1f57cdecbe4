"""What only a build can fail of."""

from wherryd.errors import InvalidParameter


class RunFailed(InvalidParameter):
    """A RUN ended with another status than 0; exit_code is what clients end with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
