"""What a person asks for, the job that carries it, and what happens on the way.

The words are diffusers' own. An `ImageRequest` that exists is valid, so nobody checks it again.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bot.errors import BadRequest
from bot.models import MODELS, Model
from bot.texts import ENGLISH, Phrase, say

PROMPT_LIMIT: Final = 2000  # characters; Slack's alt text holds as many
MAX_PICTURES: Final = 10  # what one Discord message can carry
JOB_ID: Final = re.compile("[0-9a-f]{24}")
IMAGE: Final = re.compile("[0-9a-f]{24}")
SEEDS: Final = 2**32  # a seed is below this, as in most tools
UPSCALES: Final = (1, 2)
UPSCALED_AREA: Final = 1.2  # of the model's own: shapes are rounded, and more than that takes minutes
NOT_TAKEN: Final = "not taken"  # how a job ends that nobody was promised
MOST_VARIATIONS: Final = 10  # of one another: each is one more noise to draw, and some letters more in the recipe
LEAST_STRENGTH: Final = 0.05
USUAL_STRENGTH: Final = 0.6  # keeps where things are, and redraws what they are


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """A picture, or `n` of them, fully decided: the same request gives the same pictures.

    Variations keep the composition: their first noise lies between the one of `seed` and the one of `variation_seed`, by
    `variation_strength`. A variation of a variation goes on from there, towards one more noise. Upscaling draws the picture,
    enlarges it, and refines it with the same words and steps.
    """

    prompt: str
    negative_prompt: str = ""
    num_inference_steps: int
    guidance_scale: float
    width: int  # pixels
    height: int  # pixels
    seed: int  # of the first picture; picture i (from 0) has seed + i
    n: int = 1
    model: str
    image: str = ""  # the name of a kept picture to start from; none starts from noise
    strength: float = 1.0  # the share of the steps that are run on `image`; 1 leaves nothing of it
    variation_seed: int = 0  # of the first picture; picture i (from 0) has variation_seed + i, and the same seed
    variation_strength: float = 0.0  # 0 is the picture of `seed` itself, 1 the one of `variation_seed`
    varied: tuple[tuple[int, float], ...] = ()  # the seeds and strengths of the variations that this is a variation of
    upscale: int = 1  # how many times as wide and high as `width` and `height` the picture comes out

    def __post_init__(self) -> None:
        """Put the words in one canonical form, and refuse what the model cannot draw."""
        for name in ("prompt", "negative_prompt"):
            object.__setattr__(self, name, canonical(getattr(self, name)))
        for name in ("guidance_scale", "strength"):
            object.__setattr__(self, name, round(float(getattr(self, name)), 2))
        self._drop_idle_variations()
        model = find(self.model)
        if not any(character.isprintable() for character in self.prompt):
            raise BadRequest("Say what to draw, for example: /imagine a red fox in the snow")
        at_most(Phrase("The prompt"), len(self.prompt), PROMPT_LIMIT)
        at_most(Phrase("The negative prompt"), len(self.negative_prompt), PROMPT_LIMIT)
        if self.negative_prompt and not model.guided:
            raise BadRequest(
                "{model} cannot be told what to leave out: drop --no, and say what you want to see instead.", model=model.name
            )
        _within(Phrase("Steps"), self.num_inference_steps, 1, model.max_inference_steps, model)
        _within(Phrase("Guidance"), self.guidance_scale, 0, model.max_guidance_scale, model)
        _within(Phrase("The number of pictures"), self.n, 1, MAX_PICTURES)
        _within(Phrase("The seed"), self.seed, 0, SEEDS - 1)
        self._check_start(model)
        for name, side in ((Phrase("The width"), self.width), (Phrase("The height"), self.height)):
            _within(name, side, model.min_side, model.max_side, model)
            if side % model.multiple:
                near = round(side / model.multiple) * model.multiple
                raise BadRequest(
                    "{name} must be a multiple of {multiple} for {model}: try {near}.",
                    name=name,
                    multiple=model.multiple,
                    model=model.name,
                    near=near,
                )

    def _drop_idle_variations(self) -> None:
        """Write the variations in one canonical form: without those that change nothing."""
        given = (*self.varied, (self.variation_seed, self.variation_strength))
        rounded = [(seed, round(float(strength), 2)) for seed, strength in given]
        *before, (seed, strength) = [each for each in rounded if each[1]] or [(0, 0.0)]
        object.__setattr__(self, "varied", tuple(before))
        object.__setattr__(self, "variation_seed", seed)
        object.__setattr__(self, "variation_strength", strength)

    def _check_start(self, model: Model) -> None:
        """Check what the picture starts from, and what is made of it."""
        for seed, strength in self.variations:
            _within(Phrase("The variation's seed"), seed, 0, SEEDS - 1)
            _within(Phrase("The variation's strength"), strength, 0, 1)
        if len(self.variations) > MOST_VARIATIONS:
            raise BadRequest("--vary takes {limit} variations of one another, and no more.", limit=MOST_VARIATIONS)
        if self.image:
            if not IMAGE.fullmatch(self.image):
                raise BadRequest("That is not the name of a picture: attach the picture instead.")
            _within(Phrase("The strength"), self.strength, LEAST_STRENGTH, 1)
        elif self.strength != 1:
            raise BadRequest("--strength says how far to go from a picture: attach one, or drop it.")
        if self.upscale not in UPSCALES:
            raise BadRequest("--upscale is 1 or 2; you asked for {asked}.", asked=shorten(f"{self.upscale}", ASKED))
        if self.upscale > 1 and self.width * self.height > model.width * model.height * UPSCALED_AREA:
            raise BadRequest(
                "That is too large to upscale for {model}: leave --size at {width}x{height} or less.",
                model=model.name,
                width=model.width,
                height=model.height,
            )

    @classmethod
    def restore(cls, fields: Mapping[str, Any]) -> ImageRequest:
        """Rebuild a request that was valid when it was written down; drawing it will say if it is no longer."""
        request = object.__new__(cls)
        for each in dataclasses.fields(cls):
            if each.default is not dataclasses.MISSING:  # what was written down before there was such a field
                object.__setattr__(request, each.name, each.default)
        for name in fields.keys() & set(cls.__slots__):  # a newer version of us may have written more
            object.__setattr__(request, name, fields[name])
        object.__setattr__(request, "varied", tuple(map(tuple, request.varied)))  # JSON makes lists of them
        return request

    @property
    def variations(self) -> tuple[tuple[int, float], ...]:
        """The seeds and strengths of all its variations, each one of the picture before; none if it is no variation."""
        return (*self.varied, (self.variation_seed, self.variation_strength)) if self.variation_strength else ()

    def alone(self, index: int) -> ImageRequest:
        """Return the request that draws picture `index` (from 0) of this one by itself."""
        if self.variation_strength:
            return replace(self, n=1, variation_seed=(self.variation_seed + index) % SEEDS)
        return replace(self, n=1, seed=(self.seed + index) % SEEDS)


def compose(prompt: str, *, model: str, aspect_ratio: float | None = None, **given: Any) -> ImageRequest:
    """Make a request from what was `given`, and the model's own defaults for the rest."""
    row = find(model)
    width, height = row.size(aspect_ratio) if aspect_ratio else (row.width, row.height)
    avoids = given.get("negative_prompt") and row.guidance_to_avoid
    defaults = {
        "num_inference_steps": row.num_inference_steps,
        "guidance_scale": avoids or row.guidance_scale,
        "width": width,
        "height": height,
        "seed": fresh_seed(),
        "strength": USUAL_STRENGTH if given.get("image") else 1.0,
    }
    return ImageRequest(prompt=prompt, model=model, **(defaults | given))


def effort(request: ImageRequest) -> float:
    """Reckon how much a request takes to draw: megapixels times steps, over all its pictures; the same unit for one model."""
    megapixels = request.width * request.height / 1e6
    steps = request.num_inference_steps * request.strength
    if request.upscale > 1:
        model = find(request.model)
        refining = (model.refining_steps or request.num_inference_steps) * model.refining_strength
        steps += request.upscale**2 * refining
    return megapixels * request.n * steps


def each_alone(requests: Sequence[ImageRequest]) -> list[ImageRequest]:
    """Return a request for each picture of all of them that draws it by itself, in order."""
    return [request.alone(index) for request in requests for index in range(request.n)]


def fresh_seed() -> int:
    """Draw a seed from the operating system; never from torch, whose state a memory snapshot repeats."""
    return secrets.randbelow(SEEDS)


def find(name: str) -> Model:
    """Return the model's row, or say which there are."""
    try:
        return MODELS[name]
    except KeyError:
        models = ", ".join(MODELS)
        raise BadRequest(
            "There is no model “{name}” here. There is: {models}.", name=shorten(name, 50), models=models
        ) from None


def settings(request: ImageRequest, language: str = ENGLISH) -> str:
    """Say everything but the words in one line, as people read it under a picture."""
    parts = [
        f"{request.width * request.upscale}×{request.height * request.upscale}",
        say(language, "{steps} steps", steps=request.num_inference_steps),
        say(language, "guidance {guidance:g}", guidance=request.guidance_scale),
        _seeds(request, language),
        request.model,
    ]
    if request.variation_strength:
        parts.append(_variation(request, language))
    if request.image:
        parts.append(say(language, "from a picture, strength {strength:g}", strength=request.strength))
    if request.negative_prompt:
        parts.insert(0, say(language, "without {words}", words=shorten(request.negative_prompt, 200)))
    return " · ".join(parts)


def _seeds(request: ImageRequest, language: str) -> str:
    last = request.alone(request.n - 1).seed
    if last == request.seed:
        return say(language, "seed {seed}", seed=request.seed)
    return say(language, "seeds {first} to {last}", first=request.seed, last=last)


def _variation(request: ImageRequest, language: str) -> str:
    seed, strength, count = request.variation_seed, request.variation_strength, len(request.variations)
    last = say(language, "variation {seed} by {strength:g}", seed=seed, strength=strength)
    return f"{last} ({say(language, '{count} in a row', count=count)})" if count > 1 else last


def shorten(text: str, limit: int) -> str:
    """Cut `text` to `limit` characters, and show that it was cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request, or several that go into one message; who made it, and where its pictures go."""

    claim: str  # the platform's own id of the interaction: the same one twice is the same job
    id: str = field(default_factory=lambda: secrets.token_hex(12))  # ours: unguessable, so it can name a link
    request: ImageRequest
    others: tuple[ImageRequest, ...] = ()  # what more is drawn, for the same message
    words: str = ""  # what the person typed, where that is not the prompt
    errand: str = ""  # what else is to be done instead of drawing: "delete"
    platform: str
    person: str  # who asked, unique over all platforms: turns go round by this
    reply_to: Mapping[str, str]  # an address; only the platform that wrote it can read it
    language: str = ENGLISH

    @property
    def requests(self) -> tuple[ImageRequest, ...]:
        """All that is to be drawn, in order."""
        return (self.request, *self.others)

    @property
    def title(self) -> str:
        """What stands above the pictures."""
        return self.words or self.request.prompt

    def dump(self) -> str:
        """Write it down."""
        return json.dumps(self, default=parts, ensure_ascii=False)

    @classmethod
    def load(cls, written: str | Mapping[str, Any]) -> Job:
        """Read what some version of us has written down."""
        there = json.loads(written) if isinstance(written, str) else written
        request, *others = (ImageRequest.restore(each) for each in (there["request"], *there.get("others", ())))
        known = {name: there[name] for name in cls.__slots__ if name in there}  # a newer version of us may have written more
        return cls(**{**known, "request": request, "others": tuple(others)})

    def alone(self) -> list[ImageRequest]:
        """Return a request for each picture that draws it by itself, in order."""
        return each_alone(self.requests)


def parts(data: Job | ImageRequest) -> dict[str, Any]:
    """Return what `dataclasses.asdict` does, without copying it all."""
    return {name: getattr(data, name) for name in data.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One drawn picture: a PNG with its own recipe inside, and the request that draws it alone."""

    png: bytes
    request: ImageRequest


@dataclass(frozen=True, slots=True)
class Queued:
    """Waiting; `ahead` jobs are drawn first. All is done in about so many `seconds`, if that is known."""

    ahead: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Waking:
    """A machine starts, or will as soon as there is one; the last time that took so many seconds, if it is known."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The model is at work on this job."""


@dataclass(frozen=True, slots=True)
class Step:
    """Denoising step `index` (from 1) of `total` is done, counted over all the pictures of the job."""

    index: int
    total: int
    preview: bytes = b""  # now and then, a small JPEG of what one of the pictures looks like so far
    place: int = 0  # of that picture, from 0, among all of the job
    seconds: float | None = None  # until all is done, as far as can be told


@dataclass(frozen=True, slots=True)
class Finished:
    """The pictures, in order, and the seconds the model took."""

    pictures: tuple[Picture, ...]
    seconds: float


Event = Queued | Waking | Started | Step | Finished


def mended(text: str) -> str:
    """Put a question mark in the place of half a surrogate pair, which JSON can write and nobody can send on."""
    return text.encode("utf-8", "replace").decode("utf-8")


def mended_json(body: bytes) -> bytes:
    """Mend all texts in a JSON body. Raises `ValueError` or `RecursionError` for what cannot be read."""
    if b"\\u" not in body:
        return body
    return mended(json.dumps(json.loads(body), ensure_ascii=False)).encode()


def canonical(text: str) -> str:
    """Fold spaces and line breaks, drop what cannot be seen or would reorder the text, repair broken Unicode."""
    kept = (character for character in mended(text) if character.isspace() or not _invisible(character))
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


def _invisible(character: str) -> bool:
    return unicodedata.category(character) == "Cc" or character in _BIDI


_BIDI: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def at_most(name: Phrase, length: int, limit: int) -> None:
    """Refuse what is too long."""
    if length > limit:
        raise BadRequest(
            "{name} has {length} characters; I can read {limit}. Please shorten it.", name=name, length=length, limit=limit
        )


ASKED: Final = 20  # characters of a number that somebody asked for, when it is said again


def _within(name: Phrase, value: float, low: float, high: float, model: Model | None = None) -> None:
    if low <= value <= high:  # which NaN is not
        return
    bounds = {
        "name": name,
        "low": low,
        "high": high,
        "asked": value if len(f"{value}") <= ASKED else shorten(f"{value}", ASKED),
    }
    if model:
        raise BadRequest(
            "{name} must be from {low} to {high:,} for {model}; you asked for {asked}.", model=model.name, **bounds
        )
    raise BadRequest("{name} must be from {low} to {high:,}; you asked for {asked}.", **bounds)
