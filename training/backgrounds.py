"""The procedural backgrounds: each painter fills a canvas [count, 3, size, size] with one kind of place."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from training.canvas import NIGHT, Canvas, mix

Painter = Callable[[Canvas, Tensor, Tensor], Tensor]  # canvas, first and second colour [count, 3, 1, 1]


def plain(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """One colour, a little darker at the edges."""
    base = (first + canvas.uniform(-0.04, 0.04, 3)).clamp(0, 1)
    return base * (1 - 0.32 * ((canvas.x - 0.5) ** 2 + (canvas.y - 0.45) ** 2))


def studio(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """A bright studio, for captions that name no place."""
    return plain(canvas, canvas.colour(0.93, 0.94, 0.96) + canvas.uniform(-0.05, 0.05, 3), second)


def gradient(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Two colours, blended in any direction."""
    angle = canvas.uniform(0, 2 * math.pi)
    return mix(first, second, ((canvas.x - 0.5) * angle.cos() + (canvas.y - 0.5) * angle.sin() + 0.5).clamp(0, 1))


def sky(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Clouds all over."""
    clouds = ((canvas.noise(5, 3) - 0.47) * 5).clamp(0, 1)
    return mix(canvas.sky(clouds=False), (canvas.lit(1, 1, 1) + 0.08).clamp(0, 1), clouds * 0.9)


def ocean(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Waves to the horizon."""
    sea, waves = canvas.below(canvas.uniform(0.48, 0.62)), canvas.noise(4, 10, 4)
    water = canvas.lit(0.10, 0.40, 0.68) * (1.15 - 0.45 * canvas.y) + (waves - 0.5) * 0.22
    return mix(canvas.sky(), water, sea) + ((waves - 0.62) * 5).clamp(0, 1) * sea * 0.3


def space(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Nebulae, stars and sometimes a planet."""
    dust, hue = canvas.noise(5, 2), canvas.noise(4, 2)
    cloud = mix(canvas.colour(0.05, 0.18, 0.42), canvas.colour(0.30, 0.10, 0.45), hue)
    image = canvas.colour(0.02, 0.02, 0.07) + ((dust - 0.45) * 2.5).clamp(0, 1) * cloud + canvas.stars(0.003)
    x, y, radius = canvas.uniform(0.08, 0.92), canvas.uniform(0.08, 0.3), canvas.uniform(0.06, 0.14)
    lit = ((canvas.x - x + radius * 0.4) ** 2 + (canvas.y - y + radius * 0.4) ** 2).sqrt() / (radius * 1.9)
    planet = canvas.disc(x, y, radius) * (canvas.uniform(0, 1) < 0.45)
    return mix(image, canvas.uniform(0.3, 1.0, 3) * (1 - lit).clamp(0.15, 1), planet)


def _grass(canvas: Canvas, image: Tensor) -> tuple[Tensor, Tensor]:
    mask = canvas.below(canvas.ridge(0.63, 0.03, (1, 2, 3)))
    green = canvas.lit(0.42, 0.72, 0.28) * (0.82 + 0.35 * canvas.noise(3, 24))
    return mix(image, green * (1.1 - 0.3 * (canvas.y - 0.6).clamp(0, 1)), mask), mask


def _hills(canvas: Canvas) -> Tensor:
    return mix(canvas.sky(), canvas.lit(0.36, 0.62, 0.38), canvas.below(canvas.ridge(0.55, 0.05, (1, 2))))


def meadow(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Grass and hills."""
    return _grass(canvas, _hills(canvas))[0]


def flowers(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """A meadow full of round flowers."""
    image, mask = _grass(canvas, _hills(canvas))
    cells = 22
    shape = (canvas.count, 3, cells, cells)
    hues = torch.rand(shape, device=canvas.device, generator=canvas.generator)
    hues = canvas.resized(hues / hues.amax(1, keepdim=True))
    planted = canvas.resized(canvas.specks(cells, cells, 0.42))
    distance = ((canvas.x * cells % 1 - 0.5) ** 2 + (canvas.y * cells % 1 - 0.5) ** 2).sqrt()
    petals = ((0.34 - distance) * canvas.size / cells).clamp(0, 1)
    return mix(image, hues * canvas.lit(1, 1, 1).clamp(0.35, 1), planted * petals * mask)


def park(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Round trees on grass."""
    image = _hills(canvas)
    for tree in range(5):
        x, y = canvas.uniform(tree * 0.22 - 0.05, tree * 0.22 + 0.15), canvas.uniform(0.36, 0.46)
        trunk = (((0.018 - (canvas.x - x).abs()) * canvas.size).clamp(0, 1)) * canvas.below(y) * (canvas.y < 0.62)
        image = mix(image, canvas.lit(0.42, 0.28, 0.16), trunk)
        leaves = canvas.lit(0.22, 0.55, 0.22) * (1.1 - 0.5 * (canvas.y - y + 0.1).clamp(0, 1))
        image = mix(image, leaves, canvas.disc(x, y, canvas.uniform(0.08, 0.14)))
    return _grass(canvas, image)[0]


def mountains(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Two ridges with snow on the higher one."""
    image, line = canvas.sky(), canvas.ridge(0.4, 0.06, (1.5, 3, 5), 0.24)
    rock = canvas.lit(0.46, 0.47, 0.55) * (0.85 + 0.3 * canvas.noise(4, 8))
    image = mix(image, rock, canvas.below(line))
    snow = canvas.below(line) * (1 - canvas.below(line + 0.07 + 0.05 * (canvas.noise(3, 16) - 0.5), 3))
    image = mix(image, canvas.lit(0.97, 0.98, 1.0), snow)
    near = canvas.lit(0.30, 0.36, 0.42) * (0.85 + 0.3 * canvas.noise(4, 10))
    image = mix(image, near, canvas.below(canvas.ridge(0.54, 0.05, (2, 4), 0.12)))
    return mix(image, canvas.lit(0.36, 0.58, 0.3) * (0.85 + 0.3 * canvas.noise(3, 24)), canvas.below(canvas.ridge(0.66, 0.02)))


def beach(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Sea, foam, sand."""
    horizon, shore = canvas.uniform(0.42, 0.5), canvas.ridge(0.62, 0.015, (1, 2))
    sea = canvas.lit(0.12, 0.55, 0.75) * (1.1 - 0.3 * canvas.y) + (canvas.noise(4, 10, 4) - 0.5) * 0.15
    image = mix(canvas.sky(), sea, canvas.below(horizon))
    sand = canvas.lit(0.95, 0.84, 0.6) * (0.9 + 0.2 * canvas.noise(3, 32))
    image = mix(image, sand, canvas.below(shore))
    foam = (1 - ((canvas.y - shore).abs() - 0.006) * canvas.size / 2).clamp(0, 1)
    return mix(image, canvas.lit(1, 1, 1), foam * 0.85)


def desert(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Dunes behind dunes."""
    image = canvas.sky(clouds=False)
    for height, shade in ((0.5, 0.82), (0.6, 0.92), (0.72, 1.0)):
        sand = canvas.lit(0.93 * shade, 0.74 * shade, 0.44 * shade) * (0.9 + 0.2 * canvas.noise(3, 6, 2))
        image = mix(image, sand, canvas.below(canvas.ridge(height, 0.05, (0.7, 1.4))))
    return image


def _fir(canvas: Canvas, x: Tensor, foot: float, height: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Return the mask of a fir and the height inside it, 0 at the top and 1 at the foot."""
    inside = (canvas.y - (foot - height)) / height
    side = (height * width * inside.clamp(0, 1) * (0.75 + 0.25 * (inside * 4 % 1)) - (canvas.x - x).abs()) * canvas.size
    return (side / 1.5).clamp(0, 1) * ((inside > 0) & (inside < 1)), inside


def forest(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Two rows of firs over dark grass."""
    image = canvas.sky()
    for row, (count, foot, shade) in enumerate(((9, 0.62, 0.7), (7, 0.68, 1.0))):
        for tree in range(count):
            x = canvas.uniform((tree - 0.3) / (count - 1), (tree + 0.3) / (count - 1))
            mask, _ = _fir(canvas, x, foot, canvas.uniform(0.28, 0.42) + 0.08 * row, 0.26)
            image = mix(image, canvas.lit(0.12 * shade, 0.42 * shade, 0.24 * shade), mask)
    grass = canvas.lit(0.26, 0.46, 0.22) * (0.8 + 0.4 * canvas.noise(3, 24))
    return mix(image, grass, canvas.below(canvas.ridge(0.66, 0.02)))


def underwater(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Rays of light, bubbles, a sea bed with weeds."""
    image = mix(
        canvas.colour(0.15, 0.62, 0.82), canvas.colour(0.02, 0.16, 0.38), canvas.y.expand(1, 1, canvas.size, canvas.size)
    )
    rays = torch.sin((canvas.x + 0.35 * canvas.y) * canvas.uniform(14, 24) + canvas.uniform(0, 6)).clamp(0, 1)
    image = image + rays * (1 - canvas.y) ** 2 * 0.16
    for _ in range(8):
        x, y, radius = canvas.uniform(0, 1), canvas.uniform(0, 0.8), canvas.uniform(0.008, 0.022)
        image = mix(image, canvas.colour(0.8, 0.95, 1.0), canvas.disc(x, y, radius) * 0.55)
    bed = canvas.colour(0.42, 0.45, 0.38) * (0.8 + 0.3 * canvas.noise(3, 20))
    image = mix(image, bed, canvas.below(canvas.ridge(0.9, 0.02, (1, 2))))
    for _ in range(5):
        x, height = canvas.uniform(0, 1), canvas.uniform(0.12, 0.3)
        sway = canvas.x - x - 0.02 * torch.sin(canvas.y * 25 + x * 50)
        weed = ((0.012 + 0.01 * torch.sin(canvas.y * 40) - sway.abs()) * canvas.size).clamp(0, 1)
        image = mix(image, canvas.colour(0.1, 0.42, 0.28), weed * canvas.below(0.92 - height))
    return image


def _houses(canvas: Canvas, columns: int, colour: tuple[float, float, float], low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return one row of towers and its mask; windows are lit at night."""
    size, shape = canvas.size, (canvas.count, 1, 1, columns)
    tops = torch.rand(shape, device=canvas.device, generator=canvas.generator) * (high - low) + low
    shades = torch.rand(shape, device=canvas.device, generator=canvas.generator) * 0.3 + 0.8
    column = ((canvas.x * columns + canvas.uniform(0, 1)) % columns).long().clamp(0, columns - 1)
    wall = canvas.lit(*colour) * shades.gather(3, column).expand(canvas.count, 1, 1, size)
    across, down = canvas.x * columns * 4 % 1, canvas.y * 30 % 1
    window = ((across > 0.3) & (across < 0.75) & (down > 0.3) & (down < 0.75)).float()
    lamps = canvas.resized(canvas.specks(30, columns * 4, 0.5))
    dark = mix(wall, canvas.colour(1.0, 0.85, 0.4), lamps)
    glass = torch.where(canvas.at(NIGHT), dark, wall * 1.35).clamp(0, 1)
    return mix(wall, glass, window), canvas.below(tops.gather(3, column), 1.0)


def city(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Two rows of towers and a road."""
    image = canvas.sky()
    for row in ((13, (0.52, 0.56, 0.66), 0.22, 0.5), (9, (0.36, 0.38, 0.46), 0.36, 0.6)):
        image = mix(image, *_houses(canvas, *row))
    edge = canvas.uniform(0.74, 0.8)
    line = ((canvas.y - edge - 0.1).abs() < 0.008) & (canvas.x * 6 % 1 < 0.55)
    road = mix(canvas.lit(0.34, 0.35, 0.38), canvas.lit(0.95, 0.95, 0.9), line.float())
    return mix(image, road, canvas.below(edge, 1.0))


def snow(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Snowy hills, white firs, falling flakes."""
    image = canvas.sky(clouds=False) * 0.8 + 0.18
    image = mix(image, canvas.lit(0.84, 0.90, 0.97), canvas.below(canvas.ridge(0.5, 0.05, (1, 2))))
    for tree in range(5):
        x = canvas.uniform(tree * 0.24 - 0.08, tree * 0.24 + 0.12)
        mask, inside = _fir(canvas, x, 0.62, canvas.uniform(0.2, 0.3), 0.3)
        image = mix(image, canvas.lit(0.2, 0.42, 0.36), mask)
        image = mix(image, canvas.lit(0.97, 0.98, 1.0), mask * (inside * 3 % 1 < 0.35))
    ground = canvas.lit(0.96, 0.97, 1.0) * (0.95 + 0.06 * canvas.noise(3, 8))
    image = mix(image, ground, canvas.below(canvas.ridge(0.64, 0.025, (1, 2))))
    flakes = canvas.resized(canvas.specks(canvas.size // 4, canvas.size // 4, 0.012), "bilinear")
    return mix(image, canvas.colour(1, 1, 1), flakes * 0.9)


def room(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """A wall with a window, and a wooden floor."""
    wall = (canvas.colour(0.93, 0.86, 0.76) + canvas.uniform(-0.16, 0.06, 3)).clamp(0, 1)
    image, edge = wall.expand(-1, 3, canvas.size, canvas.size), canvas.uniform(0.66, 0.74)
    boards = ((canvas.y - edge) / 0.08).floor() % 2
    floor = canvas.colour(0.62, 0.42, 0.26) * (0.85 + 0.1 * boards + 0.12 * canvas.noise(3, 6))
    image = mix(image, floor, canvas.below(edge, 1.0))
    image = mix(image, canvas.colour(0.98, 0.97, 0.95), ((0.012 - (canvas.y - edge + 0.012).abs()) * canvas.size).clamp(0, 1))
    across, down = (canvas.x - canvas.uniform(0.18, 0.82)).abs(), (canvas.y - 0.27).abs()
    frame, pane = (across < 0.15) & (down < 0.18), (across < 0.13) & (down < 0.16)
    cross = (across < 0.008) | (down < 0.008)
    image = mix(image, canvas.colour(0.97, 0.97, 0.97), frame.float())
    return mix(image, canvas.sky(), (pane & ~cross).float())


def stage(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """A spotlight in the dark."""
    image = canvas.colour(0.06, 0.05, 0.1) + 0.25 * canvas.uniform(0, 0.5, 3) * (1 - canvas.y)
    cone = ((0.12 + 0.26 * canvas.y - (canvas.x - 0.5).abs()) * 14).clamp(0, 1)
    image = image + cone * canvas.colour(0.62, 0.58, 0.45) * (0.35 + 0.5 * canvas.y)
    image = mix(image, canvas.colour(0.22, 0.14, 0.1), canvas.below(0.78, 3))
    pool = 1 - ((canvas.x - 0.5) / 0.38) ** 2 - ((canvas.y - 0.82) / 0.09) ** 2
    return image + pool.clamp(0, 1) * canvas.colour(0.6, 0.52, 0.36)


def lava(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Smoke over rocks, glowing cracks below."""
    image = mix(
        canvas.colour(0.22, 0.03, 0.03), canvas.colour(0.75, 0.2, 0.04), canvas.y.expand(1, 1, canvas.size, canvas.size)
    )
    image = image + ((canvas.noise(4, 3) - 0.5) * 3).clamp(0, 1) * canvas.colour(0.3, 0.12, 0.012)
    image = mix(image, canvas.colour(0.13, 0.07, 0.08), canvas.below(canvas.ridge(0.5, 0.06, (1.5, 3), 0.2)))
    cracks = ((0.09 - (canvas.noise(4, 6) - 0.5).abs()) * 14).clamp(0, 1)
    return mix(image, canvas.colour(0.18, 0.06, 0.05) + cracks * canvas.colour(1.0, 0.5, 0.08), canvas.below(0.66, 6))


def moon(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Grey ground with craters, the earth above."""
    image = canvas.colour(0.02, 0.02, 0.05) + canvas.stars(0.003)
    earth = canvas.disc(canvas.uniform(0.12, 0.88), canvas.uniform(0.1, 0.26), canvas.uniform(0.08, 0.13))
    land = ((canvas.noise(3, 12) - 0.52) * 12).clamp(0, 1)
    image = mix(image, mix(canvas.colour(0.15, 0.4, 0.85), canvas.colour(0.3, 0.6, 0.3), land), earth)
    ground = canvas.below(canvas.ridge(0.62, 0.025, (1, 2)))
    image = mix(image, canvas.colour(0.66, 0.66, 0.68) * (0.78 + 0.35 * canvas.noise(4, 8)), ground)
    for _ in range(6):
        x, y, radius = canvas.uniform(0, 1), canvas.uniform(0.7, 0.98), canvas.uniform(0.03, 0.08)
        crater = 1 - ((canvas.x - x) / radius) ** 2 - ((canvas.y - y) / (radius * 0.4)) ** 2
        image = mix(image, canvas.colour(0.42, 0.42, 0.45), (crater * 6).clamp(0, 1) * 0.7 * ground)
    return image


def burst(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Comic rays."""
    angle = torch.atan2(canvas.y - 0.5, canvas.x - 0.5) + canvas.uniform(0, 6)
    return mix((first * 0.35 + 0.62).clamp(0, 1), first, (torch.sin(angle * 12) * 12).clamp(-1, 1) * 0.5 + 0.5)


def dots(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Polka dots."""
    cells = canvas.uniform(6, 10)
    down = canvas.y * cells
    across = canvas.x * cells + down.floor() % 2 * 0.5
    distance = ((across % 1 - 0.5) ** 2 + (down % 1 - 0.5) ** 2).sqrt()
    return mix((first * 0.25 + 0.72).clamp(0, 1), first, ((0.28 - distance) * canvas.size / cells).clamp(0, 1))


def stripes(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """Two colours in stripes at any angle."""
    angle, width = canvas.uniform(0, math.pi), canvas.uniform(30, 55)
    wave = torch.sin((canvas.x * angle.cos() + canvas.y * angle.sin()) * width)
    return mix(second, first, (wave * 8).clamp(-1, 1) * 0.5 + 0.5)


def rainbow(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """All hues in order."""
    angle = canvas.uniform(-0.6, 0.6)
    hue = (canvas.y * angle.cos() + canvas.x * angle.sin()) * canvas.uniform(0.8, 1.2) % 1
    channels = [(n + hue * 6) % 6 for n in (5, 3, 1)]
    return torch.cat([1 - c.minimum(4 - c).clamp(0, 1) * 0.75 for c in channels], 1)


def synthwave(canvas: Canvas, first: Tensor, second: Tensor) -> Tensor:
    """A striped sun over a neon grid."""
    down = canvas.y.expand(1, 1, canvas.size, canvas.size)
    image = mix(canvas.colour(0.12, 0.03, 0.25), canvas.colour(0.85, 0.2, 0.55), down) + canvas.stars() * (1 - down)
    sun = canvas.disc(canvas.uniform(0.45, 0.55), canvas.uniform(0.36, 0.42), canvas.uniform(0.17, 0.22))
    glow = mix(canvas.colour(1.0, 0.85, 0.25), canvas.colour(1.0, 0.2, 0.6), (down * 1.2).clamp(0, 1))
    image = mix(image, glow, sun * (canvas.y * 45 % 1 > 0.25))
    depth = 1 / (canvas.y - 0.55).clamp(min=0.01)
    across, along = (canvas.x - 0.5) * depth * 0.9 % 1, (depth * 0.9 + canvas.uniform(0, 1)) % 1
    width = (0.012 * depth).clamp(0.03, 0.2)
    lines = ((across < width) | (along < width * 1.2)).float()
    ground = canvas.colour(0.07, 0.02, 0.16) + lines * canvas.colour(0.85, 0.1, 0.85)
    return mix(image, ground, canvas.below(0.58, 1.0))


PAINTERS: dict[str, Painter] = {
    painter.__name__: painter
    for painter in (
        plain,
        studio,
        gradient,
        sky,
        ocean,
        space,
        meadow,
        flowers,
        park,
        mountains,
        beach,
        desert,
        forest,
        underwater,
        city,
        snow,
        room,
        stage,
        lava,
        moon,
        burst,
        dots,
        stripes,
        rainbow,
        synthwave,
    )
}
