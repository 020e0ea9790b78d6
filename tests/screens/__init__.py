"""What people see, for the README: messages that the real service has posted, drawn by a browser. It needs Chromium."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image


def photograph(page: str, path: Path, width: int, height: int) -> None:
    """Let a browser draw a page."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        raise SystemExit("There is no Chromium on this machine.")
    with tempfile.TemporaryDirectory() as folder:
        shown, shot = Path(folder, "page.html"), Path(folder, "shot.png")
        shown.write_text(page, "utf-8")
        quiet = (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
        )
        size = f"--window-size={width},{height}"
        command = [chromium, *quiet, f"--user-data-dir={folder}", size, f"--screenshot={shot}", shown.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: S603  a page of our own
        with Image.open(io.BytesIO(shot.read_bytes())) as image:
            image.convert("RGB").save(path, quality=88, optimize=True)
