"""The picture styles that are filters over a finished picture [count, 3, height, width] in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PIXEL = 4  # a drawn pixel of pixel art, in real ones
Noise = Callable[[int, int], Tensor]  # octaves, cells: noise [count, 1, height, width] in [0, 1]
Filter = Callable[[Tensor, Noise], Tensor]


def luminance(image: Tensor) -> Tensor:
    """Return the brightness [count, 1, height, width]."""
    weights = image.new_tensor((0.3, 0.59, 0.11)).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True)


def blur(image: Tensor, width: int) -> Tensor:
    """Average over odd `width` pixels."""
    return F.avg_pool2d(F.pad(image, (width // 2,) * 4, mode="replicate"), width, 1)


def _paper(image: Tensor) -> Tensor:
    return image.new_tensor((0.98, 0.97, 0.94)).view(1, 3, 1, 1)


def _edges(image: Tensor) -> Tensor:
    right = (image - torch.roll(image, 1, 3)).abs().amax(1, keepdim=True)
    return right + (image - torch.roll(image, 1, 2)).abs().amax(1, keepdim=True)


def _strokes(image: Tensor, width: int) -> Tensor:
    """Kuwahara's filter: each pixel takes the mean of its calmest corner, which keeps edges and drops texture."""
    half = width // 2
    image = F.pad(image, (half,) * 4, mode="replicate")  # what rolls over an edge is cut off again
    light = luminance(image)
    mean, variance = blur(image, width), blur(light * light, width) - blur(light, width) ** 2
    best, calm = mean, torch.full_like(variance, torch.inf)
    for shift in ((-half, -half), (-half, half), (half, -half), (half, half)):
        candidate, spread = torch.roll(mean, shift, (2, 3)), torch.roll(variance, shift, (2, 3))
        best, calm = torch.where(spread < calm, candidate, best), torch.minimum(spread, calm)
    return best[:, :, half:-half, half:-half]


def pixel(image: Tensor, noise: Noise) -> Tensor:
    """Pixel art: big pixels, few colours."""
    small = (F.avg_pool2d(image, PIXEL) * 7).round() / 7
    return F.interpolate(small, scale_factor=PIXEL, mode="nearest")


def oil(image: Tensor, noise: Noise) -> Tensor:
    """Flat strokes with a canvas grain."""
    return _strokes(image, 7) * 1.03 + (noise(2, 42) - 0.5) * 0.14


def water(image: Tensor, noise: Noise) -> Tensor:
    """Pale washes on paper, with an uneven border."""
    wash, light = noise(4, 4), luminance(image)
    lines = (blur(light, 3) - blur(light, 7)).clamp(-0.1, 0.1) * 0.8
    painted = _strokes(image, 7) * 0.8 + 0.22 + (wash - 0.5) * 0.22 + lines
    height, width = image.shape[2:]
    down = (torch.arange(height, device=image.device) + 0.5 - height / 2).abs().view(1, 1, -1, 1) - height / 2
    across = (torch.arange(width, device=image.device) + 0.5 - width / 2).abs().view(1, 1, 1, -1) - width / 2
    inside = ((-torch.maximum(down, across) / 256 - (wash - 0.4) * 0.06) * 18).clamp(0, 1)
    return _paper(image) * (1 - inside) + painted * inside


def sketch(image: Tensor, noise: Noise) -> Tensor:
    """Pencil lines and hatching on paper."""
    grey = blur(luminance(image), 3)
    shade = (grey / (blur(grey, 21) + 1e-3)).clamp(0, 1)
    lines = 1 - (_edges(grey) * 5.5).clamp(0, 0.85)
    diagonal = torch.arange(image.shape[2], device=image.device).view(-1, 1) + torch.arange(image.shape[3], device=image.device)
    hatching = (torch.sin(diagonal * 0.9) * 0.5 + 0.5) * (0.45 - grey).clamp(0, 1) * 0.9
    return (lines * (0.35 + 0.65 * shade) - hatching).clamp(0.05, 1) * _paper(image)


def bw(image: Tensor, noise: Noise) -> Tensor:
    """Black and white, a little more contrast."""
    return ((luminance(image) - 0.5) * 1.15 + 0.5).expand(-1, 3, -1, -1)


def neon(image: Tensor, noise: Noise) -> Tensor:
    """Glowing edges in the dark."""
    edges = (F.max_pool2d(_edges(image), 3, 1, 1) * 2.2).clamp(0, 1)
    vivid = blur(image, 5)
    vivid = ((vivid / (vivid.amax(1, keepdim=True) + 0.05) - 0.55) * 2 + 0.5).clamp(0.05, 1)
    return image * 0.10 + edges * vivid * 0.95 + blur(edges * vivid, 13) * 0.9


def vintage(image: Tensor, noise: Noise) -> Tensor:
    """Sepia with dark corners."""
    grey = luminance(image) * 0.85 + 0.1
    sepia = grey * image.new_tensor((1.05, 0.88, 0.64)).view(1, 3, 1, 1) + image * 0.08
    down = torch.linspace(-0.5, 0.5, image.shape[2], device=image.device).view(-1, 1)
    across = torch.linspace(-0.5, 0.5, image.shape[3], device=image.device)
    return sepia * (1 - 0.55 * (down**2 + across**2))


FILTERS: dict[str, Filter] = {f.__name__: f for f in (pixel, oil, water, sketch, bw, neon, vintage)}
