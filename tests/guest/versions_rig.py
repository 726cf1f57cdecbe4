"""A client of one version of the Engine API."""

from typing import Any

from native_engine import Answer, NativeEngine


class Client:
    """Speaks one version, and wants the status that it names."""

    def __init__(self, engine: NativeEngine, minor: int) -> None:
        self.engine, self.minor = engine, minor

    def __call__(self, status: int, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        names = {name.replace("_", "-"): value for name, value in query.items()}
        answer = self.engine.call(method, f"/v1.{self.minor}{path}", body, **names)
        assert answer.status == status, f"{method} {path}: {answer.status} {answer.text}"
        return answer

    def get(self, path: str, **query: Any) -> Any:
        return self(200, "GET", path, **query).json
