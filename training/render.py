"""Render scenes in batches, on a CPU or a GPU: backgrounds, shadows, sprites, weather, style."""

from __future__ import annotations

import io
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from training.backgrounds import PAINTERS
from training.canvas import Canvas, mix
from training.scenes import HATS, TIMES, Box, Scene, load_concepts
from training.styles import FILTERS

Colour = tuple[float, float, float]
PAINTS: dict[str, Colour] = {
    "red": (0.86, 0.16, 0.16),
    "orange": (0.96, 0.55, 0.13),
    "yellow": (0.97, 0.85, 0.2),
    "green": (0.2, 0.68, 0.3),
    "blue": (0.18, 0.4, 0.88),
    "purple": (0.52, 0.25, 0.75),
    "pink": (0.96, 0.5, 0.72),
    "brown": (0.48, 0.3, 0.18),
    "black": (0.08, 0.08, 0.1),
    "white": (0.96, 0.96, 0.96),
    "gray": (0.52, 0.53, 0.55),
    "teal": (0.1, 0.62, 0.62),
}
TINT_PAINTS: dict[str, Colour] = {
    "red": (0.9, 0.15, 0.15),
    "orange": (1.0, 0.5, 0.1),
    "yellow": (1.0, 0.85, 0.15),
    "green": (0.15, 0.75, 0.25),
    "blue": (0.15, 0.42, 0.95),
    "purple": (0.58, 0.25, 0.85),
    "pink": (1.0, 0.48, 0.72),
    "golden": (1.0, 0.78, 0.25),
    "silver": (0.78, 0.8, 0.85),
    "black": (0.22, 0.22, 0.25),
    "white": (1.15, 1.15, 1.15),
    "teal": (0.1, 0.7, 0.7),
}
LEVELS = 3  # mip levels of the atlas: 256, 128, 64 pixels
SOLID, FLAT = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where a sprite is visible, as fractions of its square; `crown` is the middle of its topmost part."""

    left: float
    top: float
    right: float
    bottom: float
    crown: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paste:
    """One sprite on one picture, in fractions of the square canvas."""

    row: int
    sprite: int
    look: int
    tint: str | None
    x: float
    y: float
    side: float
    flip: float
    turn: float  # radians
    shadow: float  # 1 with a shadow, 0 without
    foot: float  # the sprite's lowest point, from -1 to 1


def _extent(alpha: np.ndarray) -> Extent:
    rows, columns = np.where((alpha > 24).any(1))[0], np.where((alpha > 24).any(0))[0]
    band = alpha[rows[0] : rows[0] + max(12, (rows[-1] - rows[0]) // 5)] > 24
    crown = np.where(band.any(0))[0]
    size = len(alpha)
    return Extent(
        left=columns[0] / size,
        top=rows[0] / size,
        right=(columns[-1] + 1) / size,
        bottom=(rows[-1] + 1) / size,
        crown=(crown[0] + crown[-1]) / 2 / size,
    )


class Atlas:
    """Every sprite in two looks and three sizes, premultiplied: float16 [sprite, look, 4, size, size]."""

    def __init__(self, assets: Path, device: torch.device) -> None:
        blobs = np.load(assets / "sprites.npz")
        count = len(blobs.files) // 2
        pictures = np.stack([[self._read(blobs[f"{look}_{i}"]) for look in ("solid", "flat")] for i in range(count)])
        self.extents = [[_extent(picture[3]) for picture in looks] for looks in pictures]
        top = torch.from_numpy(pictures).to(device, torch.float16) / 255
        top[:, :, :3] *= top[:, :, 3:]
        self.levels = [top]
        for _ in range(LEVELS - 1):
            smaller = F.avg_pool2d(self.levels[-1].flatten(0, 1), 2)
            self.levels.append(smaller.view(count, 2, *smaller.shape[1:]))

    @staticmethod
    def _read(blob: np.ndarray) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(blob.tobytes())).convert("RGBA")).transpose(2, 0, 1)


class Renderer:
    """Turns scenes into pictures [count, 3, height, width], float32 in [0, 1].

    A picture that is not square is the middle of a square one, so that backgrounds know only squares.
    """

    def __init__(self, assets: Path, device: torch.device) -> None:
        self.device = device
        self.atlas = Atlas(assets, device)
        self._hats = {c.name: c.sprites[0].index for c in load_concepts(assets) if c.name in HATS}

    @torch.no_grad()
    def render(self, scenes: Sequence[Scene], seed: int, height: int = 256, width: int = 256) -> Tensor:
        """Render scenes; the same seed gives the same pictures."""
        generator = torch.Generator(self.device).manual_seed(seed)
        size = max(height, width)
        times = torch.tensor([TIMES.index(scene.time) for scene in scenes], device=self.device)
        image = self._backgrounds(scenes, times, size, generator)
        layers: dict[int, list[Paste]] = defaultdict(list)
        for row, scene in enumerate(scenes):
            for depth, paste in enumerate(self._pastes(row, scene, height / size, width / size)):
                layers[depth].append(paste)
        for depth in sorted(layers):
            for level in range(LEVELS):
                image = self._paste(image, [p for p in layers[depth] if self._level(p, size) == level], level)
        image = self._weather(image, scenes, times, generator).clamp(0, 1)
        top, left = (size - height) // 2, (size - width) // 2
        return self._styled(image[:, :, top : top + height, left : left + width], scenes, generator).clamp(0, 1)

    def _backgrounds(self, scenes: Sequence[Scene], times: Tensor, size: int, generator: torch.Generator) -> Tensor:
        image = torch.empty(len(scenes), 3, size, size, device=self.device)
        paints = torch.tensor([[PAINTS[c] for c in scene.colours] for scene in scenes], device=self.device)
        rows: dict[str, list[int]] = defaultdict(list)
        for row, scene in enumerate(scenes):
            rows[scene.kind].append(row)
        for kind, chosen in rows.items():
            index = torch.tensor(chosen, device=self.device)
            canvas = Canvas(len(chosen), size, times[index], generator)
            first, second = paints[index].view(-1, 2, 3, 1, 1).unbind(1)
            image[index] = PAINTERS[kind](canvas, first, second).expand(len(chosen), 3, size, size).clamp(0, 1)
        return image

    def _pastes(self, row: int, scene: Scene, high: float, wide: float) -> list[Paste]:
        """Return the scene's sprites, back to front; `high` and `wide` are the picture's share of the square."""
        rng, short, pastes = random.Random(scene.seed), min(high, wide), list[Paste]()
        look = {"flat": FLAT, "3d": SOLID, "bw": SOLID}.get(scene.style, rng.randrange(2))
        for box in scene.boxes:
            flip, turn = rng.choice([-1.0, 1.0]), 0.0 if box.subject.hat else rng.uniform(-0.08, 0.08)
            extent = self.atlas.extents[box.subject.sprite][look]
            x, y, side = 0.5 + (box.x - 0.5) * wide, 0.5 + (box.y - 0.5) * high, box.side * short
            pastes.append(
                Paste(
                    row=row, sprite=box.subject.sprite, look=look, tint=box.subject.tint, x=x, y=y, side=side, flip=flip,
                    turn=turn, shadow=float(scene.ground), foot=extent.bottom * 2 - 1,
                )
            )  # fmt: skip
            if box.subject.hat:
                pastes.append(self._hat(row, look, box, extent, x, y, side, flip))
        return pastes

    def _hat(self, row: int, look: int, box: Box, head: Extent, x: float, y: float, side: float, flip: float) -> Paste:
        sprite = self._hats[box.subject.hat or ""]
        brim = self.atlas.extents[sprite][look].bottom
        size = side * max(0.34, (head.right - head.left) * 0.55)
        top = y + (head.top - 0.5) * side - size * (brim - 0.5) + size * 0.16
        return Paste(
            row=row, sprite=sprite, look=look, tint=None, x=x + (head.crown - 0.5) * flip * side, y=top, side=size, flip=1.0,
            turn=0.0, shadow=0.0, foot=1.0,
        )  # fmt: skip

    @staticmethod
    def _level(paste: Paste, size: int) -> int:
        """Return the smallest sprite that is not stretched by more than a third."""
        drawn = paste.side * size
        return 0 if drawn > 170 else 1 if drawn > 85 else 2

    def _paste(self, image: Tensor, pastes: Sequence[Paste], level: int) -> Tensor:
        if not pastes:
            return image
        rows = torch.tensor([p.row for p in pastes], device=self.device)
        sprites = self.atlas.levels[level][[p.sprite for p in pastes], [p.look for p in pastes]].float()
        sprites = torch.cat([self._tinted(sprites, pastes), sprites[:, 3:]], 1)
        table = [(p.x, p.y, p.side, p.flip, p.turn, p.shadow, p.foot) for p in pastes]
        numbers = torch.tensor(table, device=self.device, dtype=torch.float32)
        x, y, side, flip, turn, shadow, foot = numbers.T
        cos, sin, right, down = turn.cos() / side, turn.sin() / side, 2 * x - 1, 2 * y - 1
        theta = torch.stack(
            [
                torch.stack([cos * flip, sin * flip, -(right * cos + down * sin) * flip], 1),
                torch.stack([-sin, cos, right * sin - down * cos], 1),
            ],
            1,
        )
        size = image.shape[-1]
        grid = F.affine_grid(theta, [len(pastes), 4, size, size], align_corners=False)
        drawn = F.grid_sample(sprites, grid, mode="bilinear", align_corners=False)
        line = (torch.arange(size, device=self.device) + 0.5) / size
        across = (line - x[:, None]) / (side[:, None] * 0.42)
        along = (line - (y + side * 0.5 * foot)[:, None]) / (side[:, None] * 0.07)
        dark = (1 - across[:, None, None, :] ** 2 - along[:, None, :, None] ** 2).clamp(0, 1) ** 0.7 * 0.38
        image[rows] = image[rows] * (1 - dark * shadow.view(-1, 1, 1, 1)) * (1 - drawn[:, 3:]) + drawn[:, :3]
        return image

    def _tinted(self, sprites: Tensor, pastes: Sequence[Paste]) -> Tensor:
        """Return the sprites' colours, those with a tint recoloured by their brightness; premultiplied."""
        colours, alpha = sprites[:, :3], sprites[:, 3:]
        paints = torch.tensor([TINT_PAINTS[p.tint] if p.tint else (0, 0, 0) for p in pastes], device=self.device).float()
        chosen = torch.tensor([p.tint is not None for p in pastes], device=self.device).view(-1, 1, 1, 1)
        weights = colours.new_tensor((0.3, 0.59, 0.11)).view(1, 3, 1, 1)
        bright = (colours * weights).sum(1, keepdim=True) / (alpha + 1e-4)
        tinted = paints[:, :, None, None] * (0.35 + 0.8 * bright) + (bright - 0.75).clamp(0, 1) * 1.2
        return torch.where(chosen, tinted.clamp(0, 1) * alpha, colours)

    def _weather(self, image: Tensor, scenes: Sequence[Scene], times: Tensor, generator: torch.Generator) -> Tensor:
        for weather, paint in (("rain", _rain), ("snow", _snowfall), ("fog", _fog)):
            chosen = [row for row, scene in enumerate(scenes) if scene.weather == weather]
            if chosen:
                index = torch.tensor(chosen, device=self.device)
                canvas = Canvas(len(chosen), image.shape[-1], times[index], generator)
                image[index] = paint(canvas, image[index])
        return image

    def _styled(self, image: Tensor, scenes: Sequence[Scene], generator: torch.Generator) -> Tensor:
        height, width = image.shape[2:]
        for style, apply in FILTERS.items():
            chosen = [row for row, scene in enumerate(scenes) if scene.style == style]
            if chosen:
                index = torch.tensor(chosen, device=self.device)
                canvas = Canvas(len(chosen), max(height, width), index, generator)

                def noise(octaves: int, cells: int, canvas: Canvas = canvas) -> Tensor:
                    return canvas.noise(octaves, cells)[:, :, :height, :width]

                image[index] = apply(image[index], noise)
        return image


def _rain(canvas: Canvas, image: Tensor) -> Tensor:
    streaks = canvas.resized(canvas.specks(canvas.size // 12, canvas.size // 2, 0.10))
    return mix(image * 0.8, canvas.colour(0.75, 0.82, 0.92), streaks * 0.5)


def _snowfall(canvas: Canvas, image: Tensor) -> Tensor:
    flakes = canvas.resized(canvas.specks(canvas.size // 5, canvas.size // 5, 0.05), "bilinear")
    return mix(image, canvas.colour(1, 1, 1), flakes.clamp(0, 1) * 0.95)


def _fog(canvas: Canvas, image: Tensor) -> Tensor:
    return mix(image, canvas.colour(0.82, 0.85, 0.88), (0.35 + 0.45 * canvas.noise(3, 3)).clamp(0, 0.8))


def to_image(picture: Tensor) -> Image.Image:
    """Return one picture [3, height, width] in [0, 1] as 8-bit RGB."""
    return Image.fromarray((picture.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().cpu().numpy())
