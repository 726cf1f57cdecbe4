"""The one version of client and guest. The box, the wheel and the API all report it."""

__version__ = "0.1.0"
