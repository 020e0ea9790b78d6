"""A batch of square canvases on one device, and the strokes every painter uses: noise, discs, ridges, skies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SKIES = {  # time: two palettes of (top, horizon), RGB in [0, 1]
    "day": (((0.30, 0.58, 0.95), (0.78, 0.91, 1.0)), ((0.42, 0.70, 0.98), (0.90, 0.96, 1.0))),
    "sunset": (((0.38, 0.22, 0.52), (1.0, 0.58, 0.30)), ((0.55, 0.25, 0.45), (1.0, 0.72, 0.35))),
    "night": (((0.02, 0.03, 0.10), (0.10, 0.13, 0.32)), ((0.03, 0.02, 0.12), (0.16, 0.12, 0.34))),
}
LIGHT = ((1.0, 1.0, 1.0), (0.95, 0.68, 0.6), (0.22, 0.27, 0.46))  # what the time of day does to a colour
DAY, SUNSET, NIGHT = range(3)


class Canvas:
    """`count` pictures of `size` × `size` pixels. x and y run from 0 to 1, right and down."""

    def __init__(self, count: int, size: int, times: Tensor, generator: torch.Generator) -> None:
        self.count, self.size, self.times = count, size, times
        self.device, self.generator = times.device, generator
        line = (torch.arange(size, device=self.device) + 0.5) / size
        self.x, self.y = line.view(1, 1, 1, -1), line.view(1, 1, -1, 1)

    def uniform(self, low: float, high: float, channels: int = 1, count: int | None = None) -> Tensor:
        """Draw numbers [count, channels, 1, 1]."""
        shape = (count or self.count, channels, 1, 1)
        return torch.rand(shape, device=self.device, generator=self.generator) * (high - low) + low

    def colour(self, red: float, green: float, blue: float) -> Tensor:
        """Return one colour [1, 3, 1, 1]."""
        return torch.tensor((red, green, blue), device=self.device).view(1, 3, 1, 1)

    def lit(self, red: float, green: float, blue: float) -> Tensor:
        """Return the colour as the time of day shows it [count, 3, 1, 1]."""
        light = torch.tensor(LIGHT, device=self.device)[self.times].view(-1, 3, 1, 1)
        return self.colour(red, green, blue) * light

    def specks(self, rows: int, columns: int, share: float) -> Tensor:
        """Return a coarse random mask [count, 1, rows, columns] with that share of ones."""
        shape = (self.count, 1, rows, columns)
        return (torch.rand(shape, device=self.device, generator=self.generator) < share).float()

    def resized(self, image: Tensor, mode: str = "nearest") -> Tensor:
        """Scale a coarse picture to the canvas."""
        align = None if mode == "nearest" else False
        return F.interpolate(image, size=(self.size, self.size), mode=mode, align_corners=align)

    def noise(self, octaves: int = 4, base: int = 3, stretch: int = 1, count: int | None = None) -> Tensor:
        """Return fractal noise in [0, 1], [count, 1, size, size]; `stretch` makes it longer than high."""
        count = count or self.count
        total, amplitude = torch.zeros(count, 1, self.size, self.size, device=self.device), 1.0
        for octave in range(octaves):
            cells = base * 2**octave
            shape = (count, 1, cells, max(2, cells // stretch))
            grid = torch.rand(shape, device=self.device, generator=self.generator)
            total += amplitude * self.resized(grid, "bicubic")
            amplitude /= 2
        return (total / (2 - 2 * amplitude)).clamp(0, 1)

    def disc(self, x: Tensor, y: Tensor, radius: Tensor, soft: float = 2.0) -> Tensor:
        """Return the mask of a disc with an edge `soft` pixels wide."""
        distance = ((self.x - x) ** 2 + (self.y - y) ** 2).sqrt()
        return ((radius - distance) * self.size / soft).clamp(0, 1)

    def ridge(self, height: float, amplitude: float, waves: Sequence[float] = (1, 2, 4), jagged: float = 0.0) -> Tensor:
        """Return a random skyline [count, 1, 1, size]."""
        line = torch.zeros(self.count, 1, 1, self.size, device=self.device)
        for wave in waves:
            phase = 2 * math.pi * wave * self.x * self.uniform(0.7, 1.3) + self.uniform(0, 2 * math.pi)
            line = line + torch.sin(phase) / wave
        line = height + amplitude * line
        if jagged:
            teeth = torch.rand(self.count, 1, 24, device=self.device, generator=self.generator)
            line = line + jagged * (F.interpolate(teeth, size=self.size, mode="linear")[:, :, None] - 0.5)
        return line

    def below(self, line: Tensor | float, soft: float = 1.5) -> Tensor:
        """Return the mask of what lies under a line."""
        return ((self.y - line) * self.size / soft).clamp(0, 1)

    def stars(self, share: float = 0.0016) -> Tensor:
        """Return small stars of many brightnesses."""
        brightness = torch.rand(self.count, 1, self.size, self.size, device=self.device, generator=self.generator)
        stars = self.specks(self.size, self.size, share * (256 / self.size) ** 2) * brightness.clamp(0.4, 1)
        return (F.max_pool2d(stars, 3, 1, 1) * 0.45 + stars).clamp(0, 1)

    def sky(self, *, clouds: bool = True) -> Tensor:
        """Return the sky of each picture's time, with its sun, moon or stars."""
        palettes = torch.tensor([SKIES[time] for time in SKIES], device=self.device)
        choice = torch.randint(0, 2, (self.count,), device=self.device, generator=self.generator)
        top, horizon = palettes[self.times, choice].view(self.count, 2, 3, 1, 1).unbind(1)
        top = (top + self.uniform(-0.04, 0.04, 3)).clamp(0, 1)
        image = mix(top, horizon, self.y.expand(self.count, 1, self.size, self.size))
        for time, paint in ((DAY, self._day), (SUNSET, self._sunset), (NIGHT, self._night)):
            image = torch.where(self.at(time), paint(image, clouds=clouds), image) if (self.times == time).any() else image
        return image.clamp(0, 1)

    def at(self, time: int) -> Tensor:
        """Return which pictures show this time, bool [count, 1, 1, 1]."""
        return (self.times == time).view(-1, 1, 1, 1)

    def _day(self, image: Tensor, *, clouds: bool) -> Tensor:
        sun = self.disc(self.uniform(0.1, 0.9), self.uniform(0.08, 0.2), self.uniform(0.05, 0.08))
        image = mix(image, self.colour(1.0, 0.92, 0.45), sun * (self.uniform(0, 1) < 0.4))
        if clouds:
            cloud = ((self.noise(4, 4) - 0.52) * 6).clamp(0, 1) * (1 - self.y) * (self.uniform(0, 1) < 0.65)
            image = mix(image, self.colour(1, 1, 1), cloud * 0.85)
        return image

    def _sunset(self, image: Tensor, *, clouds: bool) -> Tensor:
        x, y = self.uniform(0.15, 0.85), self.uniform(0.3, 0.52)
        distance = ((self.x - x) ** 2 + (self.y - y) ** 2).sqrt()
        image = image + (1 - distance * 2.2).clamp(0, 1) ** 2 * self.colour(0.35, 0.22, 0.05)
        return mix(image, self.colour(1.0, 0.93, 0.62), self.disc(x, y, self.uniform(0.06, 0.12)))

    def _night(self, image: Tensor, *, clouds: bool) -> Tensor:
        image = image + self.stars() * (1 - self.y) * 0.9
        moon = self.disc(self.uniform(0.12, 0.88), self.uniform(0.1, 0.28), self.uniform(0.04, 0.075))
        return mix(image, self.colour(0.97, 0.95, 0.82), moon)


def mix(image: Tensor, colour: Tensor, mask: Tensor) -> Tensor:
    """Paint a colour, or another picture, where the mask is 1."""
    return image * (1 - mask) + colour * mask
