"""Compose scenes: what is in the picture, where it is, and the caption a person might type for it. Pure Python, no torch."""

from __future__ import annotations

import json
import math
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.words import ALIASES, COMMON, IRREGULAR_PLURALS, UNCOUNTED

COLOURS = "red orange yellow green blue purple pink brown black white gray teal".split()
TINTS = "red orange yellow green blue purple pink golden silver black white teal".split()
TIMES = ("day", "sunset", "night")
HATS = ("crown", "top hat", "sun hat", "baseball cap", "graduation cap")
COLOUR_WORDS = {*COLOURS, *TINTS, "blond", "light", "dark"}
HELD_OUT_EVERY = 12  # one in so many (concept, background) and (concept, tint) pairs is never rendered for training
TRIES = 100  # to find a subject that is not held out


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """How a background is said, and what it allows."""

    phrases: tuple[str, ...]
    weight: float
    timed: bool = False  # it looks different at sunset and at night
    ground: bool = False  # subjects stand on it, with a shadow


def _background(phrases: str, weight: float, flags: str = "") -> Background:
    return Background(phrases=tuple(phrases.split("|")), weight=weight, timed="t" in flags, ground="g" in flags)


BACKGROUNDS = {
    "plain": _background("on a {c} background|with a {c} background|{c} background|on {c}", 3.0),
    "gradient": _background(
        "on a {c} and {d} gradient background|with a {c} to {d} gradient|{c} and {d} gradient background", 1.2
    ),
    "sky": _background("in the sky|in the clouds|flying in the sky|with a cloudy sky|high in the sky", 1.2, "t"),
    "ocean": _background("over the ocean|on the sea|on the water|in the ocean|at sea|on a lake", 1.2, "tg"),
    "space": _background("in space|in outer space|among the stars|in the galaxy|floating in space", 1.5),
    "meadow": _background("in a meadow|on the grass|in a green field|on a hill|in the countryside|on green hills", 1.5, "tg"),
    "flowers": _background("in a field of flowers|in a flower garden|surrounded by flowers|in a flower field", 1.0, "tg"),
    "park": _background("in the park|in a garden|among the trees|in an orchard", 1.0, "tg"),
    "mountains": _background(
        "in the mountains|with mountains in the background|in front of a mountain|on a mountain|near snowy mountains", 1.3, "tg"
    ),
    "beach": _background("on the beach|at the beach|on a sandy beach|at the seaside|on the shore", 1.3, "tg"),
    "desert": _background("in the desert|on sand dunes|in the sahara desert|among the dunes", 1.1, "tg"),
    "forest": _background("in the forest|in the woods|in a pine forest|in a deep forest|among pine trees", 1.5, "tg"),
    "underwater": _background("underwater|under the sea|at the bottom of the ocean|swimming underwater|in the deep sea", 1.2),
    "city": _background("in the city|in front of a city skyline|in a big city|on a city street|downtown", 1.5, "tg"),
    "snow": _background(
        "in the snow|in a snowy landscape|in winter|on the ice|in a winter wonderland|in the arctic", 1.3, "tg"
    ),
    "room": _background("in a room|indoors|in a living room|in a house|on the floor of a room|in a bedroom", 1.2, "g"),
    "stage": _background("on a stage|under a spotlight|in a spotlight|on stage with dramatic lighting", 0.8, "g"),
    "lava": _background("in hell|in a lava field|surrounded by lava|in flames|in a volcanic landscape", 0.8, "g"),
    "moon": _background("on the moon|on the surface of the moon|on the lunar surface|on an alien planet", 1.0, "g"),
    "burst": _background("with a comic burst background|on a sunburst background|pop art background|with rays of light", 0.6),
    "dots": _background("on a {c} polka dot background|with {c} polka dots|on a {c} dotted background", 0.6),
    "stripes": _background("on a {c} striped background|with {c} stripes|on a {c} and {d} striped background", 0.5),
    "rainbow": _background("on a rainbow background|with rainbow colors|with a rainbow background", 0.5),
    "synthwave": _background("in a synthwave landscape|on a neon grid|in a retro wave world|in cyberspace|vaporwave", 0.9, "g"),
}
STUDIO = _background("| | | on a white background| in a studio", 0.0, "g")  # where the caption names no background
KINDS = [*BACKGROUNDS, "studio"]

STYLES = {  # style: (how it is said, weight)
    "3d": ("|||3d render|a 3d render of|cute 3d|3d style|digital art|a picture of|an image of|a photo of", 6.0),
    "flat": (
        "cartoon|flat illustration|vector art|a cartoon of|an illustration of|sticker|2d cartoon style|clip art|"
        "emoji style|a drawing of",
        3.2,
    ),
    "pixel": ("pixel art|pixel art of|8-bit style|in pixel art style|retro game sprite", 1.2),
    "oil": ("oil painting|an oil painting of|painting|a painting of|impressionist painting|painterly", 1.0),
    "water": ("watercolor|a watercolor painting of|watercolor style|in watercolor", 1.0),
    "sketch": ("pencil sketch|a pencil drawing of|line art|sketch|a sketch of|ink drawing", 1.0),
    "bw": ("black and white|black and white photo of|monochrome|grayscale|film noir", 0.6),
    "neon": ("neon|neon glow|glowing neon sign of|neon style|cyberpunk neon", 0.8),
    "vintage": ("vintage|sepia|an old photo of|vintage poster|retro", 0.6),
}
STYLE_NAMES = list(STYLES)
TIME_PHRASES = {
    "day": "||| during the day| on a sunny day| in daylight",
    "sunset": " at sunset| at dusk| at sunrise| at golden hour",
    "night": " at night| under the stars| in the dark| at midnight| by moonlight",
}
WEATHER_PHRASES = {
    "clear": "",
    "rain": " in the rain| on a rainy day|, raining",
    "snow": " while it is snowing|, snowing| in a snowstorm",
    "fog": " in the fog| in the mist|, foggy",
}
FILLERS = (
    "highly detailed|4k|8k|masterpiece|best quality|trending on artstation|beautiful|cinematic lighting|high quality|"
    "detailed|sharp focus|professional|award winning|hd|cute|epic|vibrant colors|centered|soft lighting|ultra realistic"
).split("|")
ADJECTIVES = "cute happy beautiful funny majestic adorable cool friendly lovely shiny".split()
SIZES = {"": ("",), "small": ("small", "tiny", "little"), "big": ("big", "giant", "huge", "large")}
NUMBERS = {2: "two", 3: "three", 4: "four"}
RELATIONS = {  # relation: (how it is said, weight)
    "beside": (" and | with | next to | beside | near ", 6.0),
    "left": (" on the left of | to the left of ", 1.0),
    "right": (" on the right of | to the right of ", 1.0),
    "above": (" above | on top of | over ", 1.0),
    "under": (" under | below ", 1.0),
}
GROUP_WEIGHTS = {0: 2.0, 1: 1.0, 3: 3.0, 4: 1.4, 5: 1.6, 6: 1.1, 7: 0.8}
LANDSCAPE_OPENINGS = "|a |a landscape of |a view of |scenery of |beautiful |background of ".split("|")
SCENERY = {  # a time of day as the subject
    "sunset": "a sunset |a beautiful sunset |sunset |sunrise |a sunrise ",
    "night": "night |a starry night |the night sky |a full moon night |stars ",
}
PREPOSITIONS = (
    "in a |in the |on a |on the |in |on |with a |with |at the |at |over the |flying in the |floating in |swimming |"
    "surrounded by |among the |among "
).split("|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """One drawing of a concept; kind is full, face, man or woman."""

    index: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """A thing that can be drawn."""

    name: str
    group: int
    subgroup: str
    synonyms: tuple[str, ...]
    tags: tuple[str, ...]
    sprites: tuple[Sprite, ...]

    @property
    def tintable(self) -> bool:
        """Whether "a blue …" makes sense and the name has no colour already."""
        return self.group != 1 and self.name.split()[0] not in COLOUR_WORDS

    @property
    def wears_hats(self) -> bool:
        """Whether it has a head."""
        return self.subgroup.startswith(("animal", "face", "cat"))

    def said(self, word: str, kind: str) -> str:
        """Return the word with the sprite's gender in it."""
        if kind not in ("man", "woman"):
            return word
        return word.replace("person", kind) if word.startswith("person ") else f"{kind} {word}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A concept as it appears in one scene."""

    concept: int
    sprite: int
    kind: str
    count: int = 1
    tint: str | None = None
    size: str = ""
    hat: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One pasted subject: centre as fractions of width and height, side as a fraction of the shorter side."""

    subject: Subject
    x: float
    y: float
    side: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything the renderer needs, and the caption."""

    caption: str
    style: str
    kind: str
    time: str
    weather: str
    colours: tuple[str, str]
    subjects: tuple[Subject, ...]
    boxes: tuple[Box, ...]
    relation: str | None
    ground: bool
    seed: int

    @property
    def tint(self) -> str | None:
        """The tint of the first subject."""
        return self.subjects[0].tint if self.subjects else None

    @property
    def count(self) -> int:
        """How many things are pasted, hats aside."""
        return len(self.boxes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an evaluation asks of a scene; None leaves it to chance."""

    concepts: tuple[int, ...] = ()
    kind: str | None = None
    style: str | None = None
    tint: str | None = None
    count: int = 1
    relation: str | None = None


def plural(name: str) -> str:
    """Return the plural of the last word."""
    head, _, word = name.rpartition(" ")
    if word in IRREGULAR_PLURALS:
        word = IRREGULAR_PLURALS[word]
    elif word.endswith(("s", "x", "ch", "sh")):
        word += "es"
    elif word.endswith("y") and word[-2:-1] not in "aeiou":
        word = word[:-1] + "ies"
    else:
        word += "s"
    return f"{head} {word}".strip()


def with_article(phrase: str) -> str:
    """Return "a fox" or "an owl"."""
    vowel = phrase[:1] in "aeiou" and not phrase.startswith(("uni", "ufo", "one", "eu"))
    return f"{'an' if vowel else 'a'} {phrase}"


def held_out(concept: str, *, kind: str | None = None, tint: str | None = None) -> bool:
    """Say whether training never shows this concept on this background or in this tint."""
    return zlib.crc32(f"{concept}|{kind or ''}|{tint or ''}".encode()) % HELD_OUT_EVERY == 0


def _pick(rng: random.Random, phrases: str) -> str:
    return rng.choice(phrases.split("|"))


def load_concepts(assets: Path) -> list[Concept]:
    """Read the table that `training.assets` wrote."""
    rows = json.loads((assets / "concepts.json").read_text())
    return [
        Concept(
            name=row["name"],
            group=row["group"],
            subgroup=row["subgroup"],
            synonyms=tuple(row["synonyms"]),
            tags=tuple(row["tags"]),
            sprites=tuple(Sprite(index=sprite["sprite"], kind=sprite["kind"]) for sprite in row["sprites"]),
        )
        for row in rows
    ]


class Composer:
    """Draws scenes at random, or as wished, from a table of concepts."""

    def __init__(self, concepts: Sequence[Concept], *, hold_out: bool = True) -> None:
        self.concepts = concepts
        self._hold_out = hold_out
        self._weights = [self._weight(concept) for concept in concepts]
        self._cumulative: list[float] = []
        total = 0.0
        for weight in self._weights:
            total += weight
            self._cumulative.append(total)

    @staticmethod
    def _weight(concept: Concept) -> float:
        variants = 1 + 0.5 * (len(concept.sprites) - 1)
        return GROUP_WEIGHTS.get(concept.group, 1.0) * variants * (3 if concept.name in COMMON else 1)

    def scene(self, rng: random.Random, wish: Wish | None = None) -> Scene:
        """Return one scene. A wished scene is said plainly, with the concept's own name."""
        style = (wish and wish.style) or rng.choices(STYLE_NAMES, [weight for _, weight in STYLES.values()])[0]
        kind = (wish and wish.kind) or rng.choices(list(BACKGROUNDS), [b.weight for b in BACKGROUNDS.values()])[0]
        number = len(wish.concepts) if wish else rng.choices([0, 1, 2], [0.08, 0.70, 0.22])[0]
        if number == 0 and kind in ("plain", "dots", "stripes"):
            number = 1
        if not wish and number and rng.random() < 0.12:
            kind = "studio"
        background = BACKGROUNDS.get(kind, STUDIO)
        time, weather = "day", "clear"
        if not wish and background.timed:
            time = rng.choices(TIMES, [0.55, 0.2, 0.25])[0]
            weather = rng.choices(list(WEATHER_PHRASES), [0.88, 0.04, 0.0 if kind == "snow" else 0.04, 0.04])[0]
        first, second = rng.sample(COLOURS, 2)
        subjects = tuple(self._subject(rng, kind, number, index, wish) for index in range(number))
        relation = None
        if number == 2:
            relation = (wish and wish.relation) or rng.choices(list(RELATIONS), [w for _, w in RELATIONS.values()])[0]
        caption = self._caption(rng, subjects, relation, kind, (first, second), time, weather, style, plain=bool(wish))
        return Scene(
            caption=caption,
            style=style,
            kind=kind,
            time=time,
            weather=weather,
            colours=(first, second),
            subjects=subjects,
            boxes=layout(rng, subjects, relation, ground=background.ground),
            relation=relation,
            ground=background.ground,
            seed=rng.getrandbits(30),
        )

    def _subject(self, rng: random.Random, kind: str, number: int, index: int, wish: Wish | None) -> Subject:
        if wish:
            chosen = wish.concepts[index]
            sprite = rng.choice(self.concepts[chosen].sprites)
            return Subject(concept=chosen, sprite=sprite.index, kind=sprite.kind, tint=wish.tint, count=wish.count)
        for _ in range(TRIES):
            chosen = rng.choices(range(len(self.concepts)), cum_weights=self._cumulative)[0]
            concept = self.concepts[chosen]
            tint = rng.choice(TINTS) if concept.tintable and rng.random() < 0.18 else None
            hidden = held_out(concept.name, kind=kind) or (tint is not None and held_out(concept.name, tint=tint))
            if not (self._hold_out and hidden):
                break
        else:
            raise LookupError(f"Training may show nothing on {kind!r}: everything is held out there.")
        sprite = rng.choice(concept.sprites)
        count = rng.choices([1, 2, 3, 4], [0.86, 0.06, 0.05, 0.03])[0] if number == 1 else 1
        alone = number == 1 and count == 1
        size = rng.choices(list(SIZES), [0.84, 0.08, 0.08])[0] if alone else ""
        hat = rng.choice(HATS) if alone and concept.wears_hats and rng.random() < 0.07 else None
        return Subject(
            concept=chosen, sprite=sprite.index, kind=sprite.kind, count=count, tint=tint, size="" if hat else size, hat=hat
        )

    # ------------------------------------------------------------------ captions

    def _word(self, rng: random.Random, concept: Concept) -> str:
        chance = rng.random()
        if concept.name in ALIASES and chance < 0.22:
            return rng.choice(ALIASES[concept.name])
        if concept.synonyms and 0.22 <= chance < 0.42:
            return rng.choice(concept.synonyms[:3] if rng.random() < 0.6 else concept.synonyms)
        if concept.tags and 0.42 <= chance < 0.44:
            return rng.choice(concept.tags[:2])
        return concept.name

    def _phrase(self, rng: random.Random, subject: Subject, *, plain: bool) -> str:
        concept = self.concepts[subject.concept]
        word = concept.said(concept.name if plain else self._word(rng, concept), subject.kind)
        words = [rng.choice(SIZES[subject.size])] if subject.size else []
        if not plain and rng.random() < 0.06:
            words.append(rng.choice(ADJECTIVES))
        if subject.tint:
            words.append(subject.tint)
        if subject.count > 1:
            return " ".join([NUMBERS[subject.count], *words, plural(word)])
        phrase = " ".join([*words, word])
        if subject.kind == "face" and len(concept.sprites) > 1 and not plain and rng.random() < 0.6:
            phrase = rng.choice([f"{phrase} face", f"{phrase} head", f"portrait of {with_article(phrase)}"])
        if word not in UNCOUNTED and not phrase.startswith("portrait") and (plain or rng.random() < 0.9):
            phrase = with_article(phrase)
        if subject.hat:
            phrase += rng.choice([" wearing a ", " with a ", " in a "]) + subject.hat
        return phrase

    def _caption(
        self,
        rng: random.Random,
        subjects: Sequence[Subject],
        relation: str | None,
        kind: str,
        colours: tuple[str, str],
        time: str,
        weather: str,
        style: str,
        *,
        plain: bool,
    ) -> str:
        phrases = [self._phrase(rng, subject, plain=plain) for subject in subjects]
        text = _pick(rng, RELATIONS[relation][0]).join(phrases) if relation else "".join(phrases)
        text = _place(rng, text, kind, colours, time, weather)
        text = _styled(rng, text, "" if plain and style == "3d" else _pick(rng, STYLES[style][0]))
        if not plain and rng.random() < 0.14:
            text += ", " + ", ".join(rng.sample(FILLERS, rng.randint(1, 4)))
        return text.capitalize() if not plain and rng.random() < 0.06 else text


def _place(rng: random.Random, text: str, kind: str, colours: tuple[str, str], time: str, weather: str) -> str:
    """Say where the subjects are; with no subjects, say the place alone."""
    if kind == "studio":
        return (text + rng.choice(STUDIO.phrases)).rstrip()
    place = rng.choice(BACKGROUNDS[kind].phrases).format(c=colours[0], d=colours[1])
    if BACKGROUNDS[kind].timed:
        place += _pick(rng, TIME_PHRASES[time]) + _pick(rng, WEATHER_PHRASES[weather])
    if not text and time != "day" and rng.random() < 0.4:
        return _pick(rng, SCENERY[time]) + rng.choice(BACKGROUNDS[kind].phrases)
    if not text:
        opening = next((p for p in PREPOSITIONS if place.startswith(p)), "")
        return rng.choice(LANDSCAPE_OPENINGS) + (place.removeprefix(opening) if rng.random() < 0.8 else place)
    comma = rng.random() < 0.2 or (place.endswith("background") and not place.startswith(("on", "with")))
    return f"{text}{',' if comma else ''} {place}"


def _styled(rng: random.Random, text: str, style: str) -> str:
    """Say the style before or after."""
    if not style:
        return text
    if style.endswith(" of") or style == "cute 3d":
        return f"{style} {text}"
    return rng.choice([f"{text}, {style}", f"{text}, {style}", f"{style}, {text}", f"{style} {text}"])


def layout(rng: random.Random, subjects: Sequence[Subject], relation: str | None, *, ground: bool) -> tuple[Box, ...]:
    """Place the subjects."""
    if len(subjects) == 2:
        return _pair(rng, subjects[0], subjects[1], relation, ground=ground)
    if not subjects:
        return ()
    subject = subjects[0]
    if subject.count > 1:
        return _several(rng, subject, ground=ground)
    low, high = {"": (0.62, 0.84), "small": (0.3, 0.4), "big": (0.9, 1.0)}[subject.size]
    side = rng.uniform(0.56, 0.66) if subject.hat else rng.uniform(low, high)
    y = rng.uniform(0.52, 0.57) if ground else rng.uniform(0.48, 0.52)
    if subject.hat:
        y = rng.uniform(0.62, 0.64)
    elif subject.size == "small" and ground:
        y = rng.uniform(0.64, 0.72)
    return (Box(subject=subject, x=0.5 + rng.uniform(-0.05, 0.05), y=y, side=side),)


def _several(rng: random.Random, subject: Subject, *, ground: bool) -> tuple[Box, ...]:
    columns = {2: 2, 3: 3, 4: 2}[subject.count]
    side = {2: rng.uniform(0.42, 0.47), 3: rng.uniform(0.3, 0.325), 4: rng.uniform(0.38, 0.43)}[subject.count]
    rows = math.ceil(subject.count / columns)
    middle = rng.uniform(0.55, 0.65) if ground and rows == 1 else 0.5
    return tuple(
        Box(
            subject=subject,
            x=0.5 + (index % columns - (columns - 1) / 2) * (0.325 if columns == 3 else 0.48),
            y=middle + (index // columns - (rows - 1) / 2) * 0.46,
            side=side,
        )
        for index in range(subject.count)
    )


def _pair(rng: random.Random, first: Subject, second: Subject, relation: str | None, *, ground: bool) -> tuple[Box, ...]:
    sides = rng.uniform(0.4, 0.48), rng.uniform(0.4, 0.48)
    if relation in ("above", "under"):
        upper, lower = (first, second) if relation == "above" else (second, first)
        return (
            Box(subject=lower, x=0.5 + rng.uniform(-0.05, 0.05), y=0.74, side=sides[0]),
            Box(subject=upper, x=0.5 + rng.uniform(-0.05, 0.05), y=0.27, side=sides[1]),
        )
    swapped = relation == "right" or (relation == "beside" and rng.random() < 0.5)
    left, right = (second, first) if swapped else (first, second)
    y = rng.uniform(0.58, 0.64) if ground else 0.5
    return (
        Box(subject=left, x=0.26 + rng.uniform(-0.02, 0.02), y=y, side=sides[0]),
        Box(subject=right, x=0.74 + rng.uniform(-0.02, 0.02), y=y, side=sides[1]),
    )
