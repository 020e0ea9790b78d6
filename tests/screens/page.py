"""Photograph the chat page, for the README: `python -m tests.screens.page docs/page.jpg`. It needs Chromium.

The real service draws, with the real model.
"""

from __future__ import annotations

import asyncio
import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.demo import service
from tests.test_browser import SHOWN, Tab, tab_at

PATIENCE = 120  # seconds
HEIGHT = 900  # pixels
GAP = 24


async def main(path: Path) -> None:
    """Tell a small story, and photograph it on a desk and on two telephones."""
    with tempfile.TemporaryDirectory() as profile:
        async with service({}) as url, tab_at(url, Path(profile)) as tab:
            await hold(tab, 640, "light")
            await tab.type("a red fox wearing a crown in the snow --n 2 --seed 7 --steps 20")
            await tab.until(f"{SHOWN}.length === 2", PATIENCE)
            await tab.press("Vary 2")
            await tab.until("document.querySelector('.preview')?.naturalWidth", PATIENCE)
            screens = [await photograph(tab)]
            await tab.until(f"{SHOWN}.length === 6", PATIENCE)
            await hold(tab, 400, "dark")
            screens.append(await photograph(tab))
            await tab.press("Edit")
            await tab.until("edit.open")
            screens.append(await photograph(tab))
    width = sum(screen.width for screen in screens) + GAP * (len(screens) - 1)
    sheet = Image.new("RGB", (width, HEIGHT), "white")
    left = 0
    for screen in screens:
        sheet.paste(screen, (left, 0))
        left += screen.width + GAP
    sheet.save(path, quality=85, optimize=True)


async def hold(tab: Tab, width: int, scheme: str) -> None:
    """Make the window so wide, and light or dark."""
    await tab.call("Emulation.setDeviceMetricsOverride", width=width, height=HEIGHT, deviceScaleFactor=1, mobile=width < 500)
    features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    await tab.call("Emulation.setEmulatedMedia", features=features)
    await tab.call("Emulation.setScrollbarsHidden", hidden=True)


async def photograph(tab: Tab) -> Image.Image:
    """Return what can be seen, once it has been laid out."""
    await tab.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    shot = await tab.call("Page.captureScreenshot", format="png")
    return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
