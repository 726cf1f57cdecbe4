"""GET /system/audit: what lies below the engine's data root, and what of it nobody owns. Our own call.

{"total_bytes": N, "sizes": {category: N}, "unowned": [{"path", "size_bytes", "reason"}], "damaged": [text]};
bytes are allocated ones, as `du` counts them. verify=1: every layer is read back and its digest compared,
which takes as long as saving all images.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from wherryd.api import params
from wherryd.http import web

#: verify -> the document.
Audit = Callable[[bool], Awaitable[dict[str, Any]]]


def routes(audit: Audit) -> list[web.RouteDef]:
    async def show(request: web.Request) -> web.Response:
        return web.json_response(await audit(params.boolean(request.query, "verify")))

    return [web.get("/system/audit", show, allow_head=False)]
