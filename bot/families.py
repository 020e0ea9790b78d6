"""What each kind of pipeline in diffusers does its own way, within what `bot.family` takes apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from bot.family import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bot.family import Drawing, Shape
    from bot.models import Model
    from bot.request import ImageRequest


class Words(NamedTuple):
    """What the encoders of Stable Diffusion make of a text, each with one row."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None  # of all words together: for the large ones


class UNet(Family):
    """Stable Diffusion, XL too: a network that is told what to draw and, in a second row, what not to."""

    part = "unet"
    _nothing: Words | None = None

    def __init__(self, pipeline: Any, model: Model, device: str) -> None:
        """Take the parts of a pipeline. `told` may be put in, too: what the network is given of the words of a pass."""
        super().__init__(pipeline, model, device)
        self.told: Callable[..., torch.Tensor] = self.call_told

    @property
    def _large(self) -> bool:
        return hasattr(self.pipeline, "text_encoder_2")

    def _guided(self, request: ImageRequest) -> bool:
        return request.guidance_scale > 1

    def _read(self, text: str) -> Any:
        given = {"prompt": text, "device": self.device, "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
        embeds, _, *pooled = self.pipeline.encode_prompt(**given)
        return Words(embeds, pooled[0] if pooled else None)

    def _avoided(self, text: str, words: Any) -> Any:
        if not text and self._large and self.pipeline.config.force_zeros_for_empty_prompt:
            if self._nothing is None:
                self._nothing = Words._make(None if part is None else torch.zeros_like(part) for part in words)
            return self._nothing
        return self.words(text)

    def _skipped(self, steps: int, strength: float) -> int:
        return steps - int(steps * strength)

    def predict(self, drawings: Sequence[Drawing]) -> Sequence[torch.Tensor]:
        words = _words(drawings)
        rows = [drawing.scheduler.scale_model_input(drawing.latents, drawing.timestep) for drawing in drawings]
        latents = torch.cat(rows).contiguous()  # in another order, as after a picture to start from, it is compiled anew
        inputs = {
            "sample": latents,
            "timestep": self._times(drawings),
            "encoder_hidden_states": self.told(latents, *(row.embeds for row in words)),
        }
        if self._large:
            inputs["text_embeds"] = self.stacked(*(row.pooled for row in words))
            inputs["time_ids"] = self.stacked(*[self.places(drawings[0].shape)] * len(words))
        return _guide(drawings, torch.split(self.run(**inputs), 1))

    def call_told(self, _sample: torch.Tensor, *rows: torch.Tensor) -> torch.Tensor:
        """Return the words themselves."""
        return self.stacked(*rows)

    def call(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Call it with the pictures, and their times, as often as there are words to tell it of each."""
        return self.call_sharing(**in_rows(inputs, "sample", "timestep"))

    def call_sharing(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Call it with a time for each picture alone, if it is one that `bot.layers_unet` has changed."""
        inputs = in_rows(inputs, "sample")
        added = {name: inputs.pop(name) for name in ("text_embeds", "time_ids") if name in inputs}
        return self.network(**inputs, added_cond_kwargs=added or None, return_dict=False)[0]  # type: ignore[no-any-return]

    def _places(self, shape: Shape) -> torch.Tensor:
        size = shape.height, shape.width
        dimension = self.pipeline.text_encoder_2.config.projection_dim
        ids = self.pipeline._get_add_time_ids(size, (0, 0), size, self.dtype, dimension)  # noqa: SLF001
        return ids.to(self.device)  # type: ignore[no-any-return]

    def _checked(self, image: torch.Tensor) -> torch.Tensor:
        if getattr(self.pipeline, "safety_checker", None) is None:
            return image
        return self.pipeline.run_safety_checker(image, self.device, self.dtype)[0]  # type: ignore[no-any-return]

    def _clean(self, drawing: Drawing, prediction: torch.Tensor) -> torch.Tensor:
        scheduler = drawing.scheduler
        noisy = scheduler.scale_model_input(drawing.latents, drawing.timestep)
        signal = float(scheduler.alphas_cumprod[int(drawing.timestep)]) ** 0.5
        noise = (1 - signal**2) ** 0.5
        if scheduler.config.prediction_type == "v_prediction":
            return signal * noisy - noise * prediction  # type: ignore[no-any-return]
        return (noisy - noise * prediction) / max(signal, 1e-3)  # type: ignore[no-any-return]


class Modulated(Family):
    """A transformer of which each layer is told one vector, made of the time and of all words together."""

    def __init__(self, pipeline: Any, model: Model, device: str) -> None:
        """Take the parts of a pipeline. `tell` may be put in, too: what makes of such vectors what the layers make of them."""
        super().__init__(pipeline, model, device)
        self.tell: Callable[..., torch.Tensor] | None = None

    def begin(self, drawing: Drawing) -> None:
        super().begin(drawing)
        if self.tell is not None:
            known = self._known(drawing)
            drawing.foretold = [self.tell(*known, row.expand(len(known[0]), -1)) for row in self._pooled([drawing])]

    def decode(self, drawing: Drawing) -> tuple[torch.Tensor, torch.Tensor]:
        drawing.foretold = None  # a hundred megabytes, for FLUX and fifty steps
        return super().decode(drawing)

    def _known(self, drawing: Drawing) -> Sequence[torch.Tensor]:
        """Return what the vector is made of besides the words: the times, and maybe the guidance, a row for each step."""
        raise NotImplementedError

    def _pooled(self, drawings: Sequence[Drawing]) -> list[torch.Tensor]:
        """Return all words together, a row for each row of a pass."""
        return [row[1] for row in _words(drawings)]

    def _vectors(self, drawings: Sequence[Drawing]) -> torch.Tensor:
        """Return all words together, as a network takes them; or in their place what its layers make of this step with them."""
        if self.tell is None:
            return self.stacked(*self._pooled(drawings))
        kinds = (0, -1) if drawings[0].shape.guided else (-1,)  # first what is to be avoided, as in a pass
        return torch.stack(
            [drawing.foretold[kind][len(drawing.timesteps) - drawing.left] for kind in kinds for drawing in drawings]
        )


class Flux(Modulated):
    """FLUX.1: two by two latent pixels in one token, guidance a number that the network is told."""

    @property
    def _channels(self) -> int:
        return int(self.network.config.in_channels) // 4

    def _read(self, text: str) -> Any:
        return self.pipeline.encode_prompt(prompt=text, prompt_2=None, device=self.device, **self.model.arguments)

    def _set_timesteps(self, scheduler: Any, steps: int, width: int, height: int) -> None:
        scheduler.set_timesteps(
            sigmas=np.linspace(1.0, 1 / steps, steps),
            mu=_shift(scheduler, width * height // (2 * self.pipeline.vae_scale_factor) ** 2),
            device="cpu",
        )

    def predict(self, drawings: Sequence[Drawing]) -> Sequence[torch.Tensor]:
        words = [drawing.words for drawing in drawings]
        inputs = {
            "hidden_states": torch.cat([drawing.latents for drawing in drawings]),
            "timestep": self._times(drawings).to(drawings[0].latents.dtype) / 1000,
            "encoder_hidden_states": self.stacked(*(row[0] for row in words)),
            "pooled_projections": self._vectors(drawings),
            "txt_ids": words[0][2],
            "img_ids": self.places(drawings[0].shape),
        }
        if self.network.config.guidance_embeds:
            scales = [drawing.request.guidance_scale for drawing in drawings]
            inputs["guidance"] = self._sent(torch.tensor(scales, dtype=torch.float32))
        return torch.split(self.run(**inputs), 1)

    def _known(self, drawing: Drawing) -> Sequence[torch.Tensor]:
        times = self._sent(drawing.timesteps).to(self.dtype) / 1000 * 1000  # as if by the network, which is given a thousandth
        if not self.network.config.guidance_embeds:
            return [times]
        return times, torch.full_like(times, drawing.request.guidance_scale) * 1000

    def call(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Call it with the empty dictionary that the pipeline passes, or it would be compiled anew."""
        return self.network(**inputs, joint_attention_kwargs={}, return_dict=False)[0]  # type: ignore[no-any-return]

    def _places(self, shape: Shape) -> torch.Tensor:
        _, _, height, width = self._size(shape)
        size = height // 2, width // 2
        return self.pipeline._prepare_latent_image_ids(1, *size, self.device, self.dtype)  # type: ignore[no-any-return]  # noqa: SLF001

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        return self.pipeline._pack_latents(latents, *latents.shape)  # type: ignore[no-any-return]  # noqa: SLF001

    def _unpack(self, latents: torch.Tensor, shape: Shape) -> torch.Tensor:
        scale = self.pipeline.vae_scale_factor
        return self.pipeline._unpack_latents(latents, shape.height, shape.width, scale)  # type: ignore[no-any-return]  # noqa: SLF001


class StableDiffusion3(Modulated):
    """Stable Diffusion 3 and 3.5."""

    def _guided(self, request: ImageRequest) -> bool:
        return request.guidance_scale > 1

    def _read(self, text: str) -> Any:
        embeds, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=text, prompt_2=None, prompt_3=None, device=self.device, do_classifier_free_guidance=False
        )
        return embeds, pooled

    def _set_timesteps(self, scheduler: Any, steps: int, width: int, height: int) -> None:
        side = self.pipeline.vae_scale_factor * self.network.config.patch_size
        dynamic = scheduler.config.get("use_dynamic_shifting", False)
        shift = {"mu": _shift(scheduler, width // side * (height // side))} if dynamic else {}
        scheduler.set_timesteps(steps, device="cpu", **shift)

    def _known(self, drawing: Drawing) -> Sequence[torch.Tensor]:
        return [self._sent(drawing.timesteps)]

    def predict(self, drawings: Sequence[Drawing]) -> Sequence[torch.Tensor]:
        words = _words(drawings)
        taking = [*drawings] * (len(words) // len(drawings))
        rows = self.run(
            hidden_states=torch.cat([drawing.latents for drawing in taking]),
            timestep=self._times(taking),
            encoder_hidden_states=self.stacked(*(row[0] for row in words)),
            pooled_projections=self._vectors(drawings),
        )
        return _guide(drawings, torch.split(rows, 1))


class ZImage(Family):
    """Z-Image: it takes its pictures and words as lists, for words may differ in length; it steps in full precision."""

    latent_dtype = torch.float32

    def __init__(self, pipeline: Any, model: Model, device: str) -> None:
        """Take the parts of a pipeline. `told` may be put in, too: what the network is given of words."""
        super().__init__(pipeline, model, device)
        self.told: Callable[..., torch.Tensor] = self.call_told

    def _read(self, text: str) -> Any:
        return self.pipeline.encode_prompt(text, device=self.device, do_classifier_free_guidance=False)[0][0]

    def _set_timesteps(self, scheduler: Any, steps: int, width: int, height: int) -> None:
        sigmas = torch.linspace(1.0, 1 / steps, steps).tolist()
        tokens = width * height // (2 * self.pipeline.vae_scale_factor) ** 2
        scheduler.set_timesteps(sigmas=sigmas, mu=_shift(scheduler, tokens), device="cpu")

    def predict(self, drawings: Sequence[Drawing]) -> Sequence[torch.Tensor]:
        rows = self.run(
            latents=torch.cat([drawing.latents for drawing in drawings]),
            times=self._times(drawings),
            words=[self.told(drawing.words) for drawing in drawings],
        )
        return torch.split(rows, 1)

    def call_told(self, words: torch.Tensor) -> torch.Tensor:
        """Return the words themselves."""
        return words

    def call(self, **inputs: Any) -> torch.Tensor:
        """Call it as its pipeline does, which counts the time the other way round, and goes the other way."""
        pictures = [*inputs["latents"].to(self.dtype).unsqueeze(2)]
        rows = self.network(pictures, (1000 - inputs["times"]) / 1000, inputs["words"], return_dict=False)[0]
        return -torch.stack(rows).float().squeeze(2)


FAMILIES: Final[dict[str, type[Family]]] = {
    "StableDiffusionPipeline": UNet,
    "StableDiffusionXLPipeline": UNet,
    "StableDiffusion3Pipeline": StableDiffusion3,
    "FluxPipeline": Flux,
    "ZImagePipeline": ZImage,
}


def in_rows(inputs: Mapping[str, torch.Tensor], *names: str) -> dict[str, torch.Tensor]:
    """Return what a UNet is called with, some of it as often as there are words for each picture."""
    each = len(inputs["encoder_hidden_states"]) // len(inputs["sample"])
    return {**inputs, **{name: torch.cat([inputs[name]] * each) for name in names if each > 1}}


def _words(drawings: Sequence[Drawing]) -> list[Any]:
    """Return the words of each row of a pass: where guided, first those of what is to be avoided."""
    words = [drawing.words for drawing in drawings]
    return [*(drawing.avoided for drawing in drawings), *words] if drawings[0].shape.guided else words


def _guide(drawings: Sequence[Drawing], rows: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """Lead each prediction away from what is to be avoided; where guided, the first half of the rows is that."""
    if not drawings[0].shape.guided:
        return rows
    pairs = zip(drawings, rows, rows[len(drawings) :], strict=False)
    return [torch.lerp(avoided, row, drawing.request.guidance_scale) for drawing, avoided, row in pairs]  # in one kernel


def _shift(scheduler: Any, tokens: int) -> float:
    """Return how much longer a picture of so many tokens stays near the noise, by its scheduler's own numbers."""
    defaults = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
    return calculate_shift(tokens, *(scheduler.config.get(name, value) for name, value in defaults.items()))  # type: ignore[no-any-return]
