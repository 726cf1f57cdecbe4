"""requests over a unix socket, a named pipe or TCP: one adapter, chosen by the endpoint.

Borrowed idea: an HTTPAdapter whose connection pool makes its own connections, as docker-py has it. The
URL's host is a placeholder; nothing is resolved, and proxies of the environment are ignored.
"""

import socket
import sys
from collections.abc import Mapping
from typing import Any

import requests
import requests.adapters
import urllib3
import urllib3.connection

from wherry.engine.dial import connect_socket
from wherry.engine.endpoint import Endpoint, Scheme

#: Stands in the URL's host part; engines ignore it, but it must be there.
PLACEHOLDER = "http://docker"


class EngineConnection(urllib3.connection.HTTPConnection):
    """An HTTP connection to one endpoint, whatever host the URL names."""

    def __init__(self, *args: Any, endpoint: Endpoint, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._endpoint = endpoint

    def connect(self) -> None:
        if sys.platform == "win32" and self._endpoint.scheme is Scheme.NPIPE:
            from wherry.engine._windows import PipeSocket

            self.sock = PipeSocket.connect(self._endpoint.path)
            return
        self.sock = connect_socket(self._endpoint)


class EnginePool(urllib3.HTTPConnectionPool):
    """Connections to one endpoint. conn_kw reaches every EngineConnection."""

    ConnectionCls = EngineConnection


class EngineAdapter(requests.adapters.HTTPAdapter):
    """Sends every request to one endpoint. No retries: a POST must not be repeated behind one's back."""

    def __init__(self, endpoint: Endpoint) -> None:
        # maxsize: run keeps wait, attach's kill and resize calls open at once.
        self._pool = EnginePool("docker", maxsize=8, endpoint=endpoint)
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,  # noqa: ARG002
        verify: bool | str | None,  # noqa: ARG002
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
        cert: tuple[str, str] | str | None = None,  # noqa: ARG002
    ) -> EnginePool:
        return self._pool

    def request_url(
        self,
        request: requests.PreparedRequest,
        proxies: Mapping[str, str] | None,  # noqa: ARG002
    ) -> str:
        return request.path_url

    def close(self) -> None:
        self._pool.close()
        super().close()


def session(endpoint: Endpoint) -> requests.Session:
    """A session that knows only this endpoint: no proxies, no netrc, no redirects elsewhere."""
    made = requests.Session()
    made.trust_env = False
    made.adapters.clear()
    made.mount("http://", EngineAdapter(endpoint))
    return made


def is_connect_error(exc: BaseException) -> OSError | None:
    """The OSError of a connection that could not be made, dug out of requests' wrapping."""
    seen: BaseException | None = exc
    for _ in range(8):  # a chain, never longer than a handful
        if seen is None:
            return None
        if isinstance(seen, FileNotFoundError | ConnectionRefusedError | PermissionError | socket.gaierror):
            return seen
        reason = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        seen = reason or seen.__cause__ or seen.__context__
    return None
