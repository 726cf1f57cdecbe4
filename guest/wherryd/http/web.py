"""What handlers are written with."""

from wherryd.http.messages import Request, Response, StreamResponse, json_response
from wherryd.http.routes import Handler, RouteDef, Router, delete, get, head, post, put, route

__all__ = [
    "Handler",
    "Request",
    "Response",
    "RouteDef",
    "Router",
    "StreamResponse",
    "delete",
    "get",
    "head",
    "json_response",
    "post",
    "put",
    "route",
]
