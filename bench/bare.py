"""The least that any bot must do: two routes that verify a signature and answer nothing. The baseline of `bench.ack`."""

import os
import sys
import time
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from nacl.signing import VerifyKey
from slack_sdk.signature import SignatureVerifier

slack = SignatureVerifier(os.environ["SLACK_SIGNING_SECRET"])
discord = VerifyKey(bytes.fromhex(os.environ["DISCORD_PUBLIC_KEY"]))
app = FastAPI()


@app.post("/slack/events")
async def slack_events(request: Request) -> Response:
    """Verify Slack's signature."""
    valid = slack.is_valid_request(await request.body(), dict(request.headers))
    return Response(status_code=200 if valid else 401)


@app.post("/discord/interactions")
async def discord_interactions(request: Request) -> dict[str, Any]:
    """Verify Discord's signature."""
    timestamp = request.headers["x-signature-timestamp"]
    discord.verify(timestamp.encode() + await request.body(), bytes.fromhex(request.headers["x-signature-ed25519"]))
    return {"type": 5, "at": time.time()}


@app.get("/health")
async def health() -> dict[str, Any]:
    """Answer as the bot does."""
    return {"model": {"loaded": True}}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False)
