"""What the pipelines of diffusers do in one go, taken apart: begin a picture, take one step with several, finish it.

`Family` has what all pipelines share; `bot.families`, what each kind of network wants. Each does what the `__call__` of its
pipeline does, in the same order, and the same but for rounding; tests/test_families.py holds them side by side. The parts
themselves (networks, autoencoders, encoders of words, schedulers) are diffusers' own.

Every picture has a scheduler of its own, a copy: a scheduler counts its steps and keeps what it saw at the last ones.
Schedulers live on the CPU, where reading a number from them never waits for the GPU.
"""

from __future__ import annotations

import copy
import inspect
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image, ImageOps

from bot.steps import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from bot.models import Model
    from bot.request import ImageRequest

KEPT: Final = 64  # prompts whose encoding is kept, a few megabytes each for the largest models; and shapes, and schedules
COMPANIES: Final = 8  # stacks of words that are kept, up to four kinds of them
TILED: Final = 2.5e6  # pixels: beyond, the autoencoder works in tiles, or its attention takes as much time as all the rest


class Shape(NamedTuple):
    """What rows must share to go through the network together."""

    width: int
    height: int
    guided: bool

    @property
    def work(self) -> float:
        """Return the amount of work in one row, in passes of a megapixel."""
        return self.width * self.height / 2**20 * (1 + self.guided)


@dataclass(eq=False, slots=True, kw_only=True)
class Drawing(Row):
    """One picture under way, and all that is its own."""

    task: Any
    shape: Shape
    request: ImageRequest  # of this picture alone
    place: int  # among the pictures of its task
    image: Image.Image | None  # to start from, in its size
    refining: bool  # this is the second round of a picture that is upscaled
    scheduler: Any
    timesteps: Any  # a tensor on the CPU
    chance: torch.Generator  # of its seed
    others: Sequence[tuple[torch.Generator, float]]  # of its variations' seeds, and how far to go towards each
    noise: Future[torch.Tensor] | None = None  # of the beginning, where that needs nothing else
    extra: dict[str, Any] = field(default_factory=dict)  # what its scheduler's `step` wants besides
    latents: Any = None  # None until `begin`
    words: Any = None
    avoided: Any = None
    foretold: Any = None  # what layers make of all steps, if made beforehand: with what is to be avoided, with the words

    @property
    def timestep(self) -> Any:
        """Return where it stands, between noise and picture."""
        return self.timesteps[len(self.timesteps) - self.left]


class Family:
    """How one kind of pipeline draws."""

    part: str = "transformer"  # what the pipeline calls its network
    latent_dtype: torch.dtype | None = None  # None: what the network is in

    def __init__(self, pipeline: Any, model: Model, device: str) -> None:
        """Take the parts of a pipeline. `run` and `decoder` may be put in for something faster that does the same."""
        self.pipeline = pipeline
        self.model = model
        self.device = torch.device(device)
        self.network = getattr(pipeline, self.part)
        # A model of diffusers looks through all its layers whenever it is asked: milliseconds, and nobody else can use Python.
        self.dtype, self.vae_dtype = self.network.dtype, pipeline.vae.dtype
        self._tiles = pipeline.vae.use_tiling  # always, where there is little memory
        self.run: Callable[..., torch.Tensor] = self.call
        self.decoder: Callable[[torch.Tensor], torch.Tensor] = self.call_decoder
        self.kept: list[Any] = []  # what has been put in, if it holds memory of which it can let go
        self.words = lru_cache(KEPT)(self._read)  # texts come again and again, the empty one most of all
        self.places = lru_cache(KEPT)(self._places)
        self.begun = lru_cache(KEPT)(self._begun)
        # A scheduler that adds noise at every step forgets the first one: its variations go as far in each.
        self._adds_noise = "generator" in inspect.signature(pipeline.scheduler.step).parameters
        if self._adds_noise:
            sys.modules[type(pipeline.scheduler).__module__].__dict__["randn_tensor"] = _drawn
        self._beside = ThreadPoolExecutor(1, "noise")  # it takes a processor milliseconds, in which the words can be read
        self.stacked = lru_cache(COMPANIES)(lambda *rows: torch.cat(rows))  # the same at every step, until the company changes

    def forget(self) -> bool:
        """Let go of memory that is held to be quicker next time; return whether there was any."""
        found = [each.forget() for each in self.kept]
        return any(found)

    # Before the first step

    def drawing(self, task: Any, request: ImageRequest, place: int, image: Image.Image | None) -> Drawing:
        """Plan a picture, from noise or from `image`; nothing is computed on the device yet. Safe in any thread."""
        strength = 1.0 if image is None else request.strength
        drawing = self._plan(task, request, place, image, 1, request.num_inference_steps, strength)
        if image is None:
            drawing.noise = self._beside.submit(lambda: self._pinned(self._noise(drawing)))
        return drawing

    def refining(self, task: Any, request: ImageRequest, place: int, image: Image.Image) -> Drawing:
        """Plan the second round of a picture that is upscaled: `image` is what came of the first."""
        steps = self.model.refining_steps or request.num_inference_steps
        return self._plan(task, request, place, image, request.upscale, steps, self.model.refining_strength)

    def _plan(
        self, task: Any, request: ImageRequest, place: int, image: Image.Image | None, scale: int, steps: int, strength: float
    ) -> Drawing:
        width, height = request.width * scale, request.height * scale
        skipped = 0 if image is None else min(self._skipped(steps, strength), steps - 1) * self.pipeline.scheduler.order
        scheduler = copied(self.begun(steps, width, height, skipped))
        chance, others = _chances(request)
        return Drawing(
            task=task,
            shape=Shape(width, height, self._guided(request)),
            left=len(scheduler.timesteps) - skipped,
            request=request,
            place=place,
            image=None if image is None else ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS),
            refining=scale > 1,
            scheduler=scheduler,
            timesteps=scheduler.timesteps[skipped:],
            chance=chance,
            others=others,
        )

    def begin(self, drawing: Drawing) -> None:
        """Read the words, and put the noise on the device. Where that fails, it may be tried again."""
        request = drawing.request
        drawing.words = self.words(request.prompt)
        if drawing.shape.guided:
            drawing.avoided = self._avoided(request.negative_prompt, drawing.words)
        if drawing.image is not None:
            drawing.chance, drawing.others = _chances(request)  # from their beginning, at a second try too
            start = self._encode(drawing.image, drawing.chance)
            drawing.latents = self._pack(self._mix(drawing, start, self._sent(self._noise(drawing))))
        elif drawing.noise is not None:
            noise = self._sent(drawing.noise.result())
            drawing.latents = self._pack(noise * getattr(drawing.scheduler, "init_noise_sigma", 1.0))
        drawing.image = drawing.noise = None
        if self._adds_noise:
            drawing.extra["generator"] = _Between(drawing) if drawing.others else drawing.chance

    # A step

    def predict(self, drawings: Sequence[Drawing]) -> Sequence[torch.Tensor]:
        """Return what the network predicts for each, guidance applied. It changes none, so it may be tried again."""
        raise NotImplementedError

    def step(self, drawing: Drawing, prediction: torch.Tensor) -> None:
        """Take one step by what was predicted. One that fails cannot be taken again: the scheduler may have counted it."""
        drawing.latents = drawing.scheduler.step(
            prediction, drawing.timestep, drawing.latents, return_dict=False, **drawing.extra
        )[0]
        taken = len(drawing.timesteps) - drawing.left + 1
        if drawing.left > 1 and taken >= round(self.model.guidance_stop * len(drawing.timesteps), 6):  # 0.55 * 20 > 11
            drawing.shape = drawing.shape._replace(guided=False)

    def call(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Call the network with nothing but tensors, which is what a CUDA graph can repeat."""
        return self.network(**inputs, return_dict=False)[0]  # type: ignore[no-any-return]

    # After the last step

    def decode(self, drawing: Drawing) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the picture, (height, width, 3) of bytes, and whether all numbers in it are numbers; both on the device."""
        vae = self.pipeline.vae
        latents = self._unpack(drawing.latents, drawing.shape)
        whole = torch.isfinite(latents).all()
        # After a picture to start from they are in another order, for which the decoder would be compiled anew.
        latents = self._unscale(latents).to(self.vae_dtype).contiguous()
        vae.use_tiling = self._tiles or drawing.shape.width * drawing.shape.height > TILED
        image = self._checked((self.call_decoder if vae.use_tiling else self.decoder)(latents))
        image = ((image[0].float() * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return image.permute(1, 2, 0).contiguous(), whole

    def call_decoder(self, latents: torch.Tensor) -> torch.Tensor:
        """Call the decoder with nothing but a tensor."""
        return self.pipeline.vae.decode(latents, return_dict=False)[0]  # type: ignore[no-any-return]

    def preview(self, drawing: Drawing, prediction: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
        """Return what the picture looks like so far, an eighth as wide: (height, width, 3) of bytes, on the device.

        Ask before the step is taken: it starts from what the prediction was made for.
        """
        latents = self._unpack(self._clean(drawing, prediction), drawing.shape)[0].float()
        image = torch.einsum("chw,cn->hwn", latents, colours[:-1]) + colours[-1]
        return ((image * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)

    def colours(self) -> torch.Tensor:
        """Fit the colour of a latent pixel to its numbers: (channels + 1, 3), by least squares over pictures of plain shapes.

        It is what decoding comes down to, without the details: for all autoencoders, and with no numbers known beforehand.
        """
        generator = torch.Generator().manual_seed(0)
        side = 16 * self.pipeline.vae_scale_factor
        patches = torch.rand((8, 3, 6, 6), generator=generator) * 2 - 1  # eight pictures of six by six soft patches
        images = torch.nn.functional.interpolate(patches, size=(side, side), mode="bilinear").to(self.device)
        latents = [self._scale(self._latents(image[None], None)).float() for image in images]
        small = torch.nn.functional.adaptive_avg_pool2d(images, latents[0].shape[-1])
        known = torch.cat(latents).permute(0, 2, 3, 1).flatten(0, 2)
        known = torch.cat([known, torch.ones_like(known[:, :1])], dim=1)
        return torch.linalg.lstsq(known, small.permute(0, 2, 3, 1).flatten(0, 2)).solution  # type: ignore[no-any-return]

    # What most pipelines do alike

    def _guided(self, _request: ImageRequest) -> bool:
        return False

    def _avoided(self, text: str, _words: Any) -> Any:
        return self.words(text)

    def _read(self, text: str) -> Any:
        """Return what the encoders make of a text."""
        raise NotImplementedError

    def _places(self, _shape: Shape) -> Any:
        """Return what the network is told of where the pixels of a shape are."""
        raise NotImplementedError

    def _begun(self, steps: int, width: int, height: int, skipped: int) -> Any:
        """Return a scheduler that is about to take its first step."""
        scheduler = copied(self.pipeline.scheduler)
        self._set_timesteps(scheduler, steps, width, height)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(skipped)  # or it looks the first step up, by comparing numbers
        return scheduler

    def _set_timesteps(self, scheduler: Any, steps: int, _width: int, _height: int) -> None:
        scheduler.set_timesteps(steps, device="cpu")

    def _skipped(self, steps: int, strength: float) -> int:
        """Return how many steps a start from a picture leaves out; pipelines round differently."""
        return int(steps - steps * strength)

    def _size(self, shape: Shape) -> tuple[int, int, int, int]:
        scale = self.pipeline.vae_scale_factor
        return 1, self._channels, shape.height // scale, shape.width // scale

    @property
    def _channels(self) -> int:
        return int(self.network.config.in_channels)

    def _noise(self, drawing: Drawing) -> torch.Tensor:
        """Draw the first noise: the one of the seed; for each variation, go some way from there to the one of its own seed."""
        return _Between(drawing).drawn(self._size(drawing.shape), dtype=self.latent_dtype or self.dtype)

    def _mix(self, drawing: Drawing, start: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Put as much noise over the picture to start from as the first step takes away."""
        mix = getattr(drawing.scheduler, "scale_noise", None)
        if mix is not None:
            return mix(start, drawing.timesteps[:1], noise)  # type: ignore[no-any-return]
        return drawing.scheduler.add_noise(start, noise, drawing.timesteps[:1])  # type: ignore[no-any-return]

    def _encode(self, image: Image.Image, generator: torch.Generator) -> torch.Tensor:
        pixels = self.pipeline.image_processor.preprocess(image).to(self.device)
        self.pipeline.vae.use_tiling = self._tiles or image.width * image.height > TILED
        return self._scale(self._latents(pixels, generator)).to(self.latent_dtype or self.dtype)

    def _latents(self, pixels: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        vae = self.pipeline.vae
        encoded = vae.encode(pixels.to(self.vae_dtype))
        if not hasattr(encoded, "latent_dist"):
            return encoded.latents  # type: ignore[no-any-return]
        found = encoded.latent_dist
        return found.mode() if generator is None else found.sample(generator)  # type: ignore[no-any-return]

    def _scale(self, latents: torch.Tensor) -> torch.Tensor:
        config = self.pipeline.vae.config
        return (latents - (getattr(config, "shift_factor", None) or 0.0)) * config.scaling_factor  # type: ignore[no-any-return]

    def _unscale(self, latents: torch.Tensor) -> torch.Tensor:
        config = self.pipeline.vae.config
        return latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)  # type: ignore[no-any-return]

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        return latents

    def _unpack(self, latents: torch.Tensor, _shape: Shape) -> torch.Tensor:
        return latents

    def _checked(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def _clean(self, drawing: Drawing, prediction: torch.Tensor) -> torch.Tensor:
        """Return the picture that the network expects at the end: here, it predicts the way there from the noise."""
        scheduler = drawing.scheduler
        return drawing.latents - scheduler.sigmas[len(scheduler.sigmas) - 1 - drawing.left] * prediction  # type: ignore[no-any-return]

    def _times(self, drawings: Sequence[Drawing]) -> torch.Tensor:
        return self._sent(torch.stack([drawing.timestep for drawing in drawings]))

    def _sent(self, tensor: torch.Tensor) -> torch.Tensor:
        """Begin to copy to the device, without waiting until it is done with what it is at: so it never waits for us."""
        return self._pinned(tensor).to(self.device, non_blocking=True)

    def _pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.pin_memory() if self.device.type == "cuda" else tensor


def _chances(request: ImageRequest) -> tuple[torch.Generator, list[tuple[torch.Generator, float]]]:
    """Return what the noise of a picture is drawn with: chance of its seed, and of its variations' with their shares."""
    others = [(torch.Generator().manual_seed(seed), share) for seed, share in request.variations]
    return torch.Generator().manual_seed(request.seed), others


def copied(scheduler: Any) -> Any:
    """Copy a scheduler, and the lists in it: all else in one is put in the place of what was there, and never written into."""
    own = copy.copy(scheduler)
    vars(own).update({name: [*value] for name, value in vars(scheduler).items() if isinstance(value, list)})
    return own


class _Between:
    """What noise is drawn with where it lies between those of several seeds: of the picture's own, and of its variations."""

    def __init__(self, drawing: Drawing) -> None:
        self._own, self._others = drawing.chance, drawing.others

    def drawn(self, shape: Any, device: Any = None, **how: Any) -> torch.Tensor:
        """Draw on the CPU, where seeds give the same on all machines, and mix there: not all others know long numbers."""
        noise: torch.Tensor = randn_tensor(shape, generator=self._own, **how)
        for other, share in self._others:
            noise = slerp(noise, randn_tensor(shape, generator=other, **how), share)
        return noise if device is None else noise.to(device)


def _drawn(shape: Any, generator: Any = None, **how: Any) -> torch.Tensor:
    """Draw noise as schedulers do, whose own way to it takes nothing but torch's generators."""
    if isinstance(generator, _Between):
        return generator.drawn(shape, **how)
    return randn_tensor(shape, generator=generator, **how)  # type: ignore[no-any-return]


def slerp(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    """Return the noise that lies `share` of the way from one to another, on the arc between them: as strong as each.

    A straight line would pass nearer to zero, and the picture would come out grey.
    """
    if torch.equal(one, other):
        return one
    start, end = one.double(), other.double()
    angle = torch.acos((start * end).sum() / (start.norm() * end.norm()))
    mixed = (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)
    return mixed.to(one.dtype)
