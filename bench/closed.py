"""A platform that takes nothing: whatever is posted to it is refused at once."""

import sys
from typing import Any

from aiohttp import web


async def refuse(request: web.Request) -> web.Response:
    """Refuse in Slack's words, or in Discord's."""
    if request.path == "/health":
        return web.json_response({"model": {"loaded": True}})
    slack: dict[str, Any] = {"ok": False, "error": "channel_not_found"}
    discord: dict[str, Any] = {"code": 10015, "message": "Unknown Webhook"}
    in_slack = "/api/" in request.path
    return web.json_response(slack if in_slack else discord, status=200 if in_slack else 404)


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", refuse)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
