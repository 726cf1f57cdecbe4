"""The builder's one error: the box cannot be built; the message ends in what to do."""


class BoxError(Exception):
    pass
