"""An image bot for Slack and Discord: people type `/imagine`, and the picture comes back."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("imagine-bot")
except PackageNotFoundError:  # run from a bare checkout
    __version__ = "0"
