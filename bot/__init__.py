"""An image bot for Slack and Discord: people type `/imagine`, and the picture comes back."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("imagine-bot")
except PackageNotFoundError:  # run from a bare checkout
    __version__ = "0"


def __getattr__(name: str) -> Any:
    """Have `bot.app` for `modal deploy -m bot`, and import Modal for nobody else."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bot.deploy import app

    return app
