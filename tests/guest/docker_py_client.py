"""docker-py on an engine of the tests' own: each of its answers is judged by the API's description, too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import docker
from native_engine import Answer, NativeEngine, judge


@contextmanager
def docker_py(engine: NativeEngine, *, timeout: float = 30) -> Iterator[Any]:
    """A docker.DockerClient. Its calls raise AssertionError for an answer that is not as described."""
    client = docker.DockerClient(base_url=f"unix://{engine.socket}", timeout=timeout)
    # The API client is a session of requests, which tells of every answer before anybody reads it.
    client.api.hooks["response"].append(_look)
    try:
        yield client
    finally:
        client.close()


def _look(response: Any, *_: Any, stream: bool = False, **__: Any) -> None:
    if stream:
        return  # it is for whoever asked to read it
    request = response.request
    answer = Answer(response.status_code, dict(response.headers), response.content)
    judge(request.method, urlsplit(request.url).path, request.headers, answer)
