"""Train the tokenizer on captions: byte-level BPE as CLIP has it, so that no text is unknown.

python -m training.tokenizer --assets training/.cache/assets --out training/.cache/run/tokenizer
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from training.scenes import FILLERS, Composer, load_concepts
from training.words import ALIASES

VOCABULARY = 4800  # merges and bytes, before the bytes at a word's end and the two marks
CONTEXT = 48  # tokens of a prompt, marks included; the rest is cut off
CAPTIONS = 60_000
START, END = "<|startoftext|>", "<|endoftext|>"
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def corpus(assets: Path) -> Iterator[str]:
    """Yield captions, then every single word that a caption may use."""
    composer, rng = Composer(load_concepts(assets)), random.Random(1)
    for _ in range(CAPTIONS):
        yield composer.scene(rng).caption
    for concept in composer.concepts:
        yield from [concept.name] * 9
        yield from [*concept.synonyms, *concept.tags, *ALIASES.get(concept.name, [])] * 3
    yield from FILLERS * 3


def train(texts: Iterator[str], out: Path) -> CLIPTokenizer:
    """Train, and save as a transformers folder."""
    tokenizer = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>"))
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    vocabulary: dict[str, int] = learned["vocab"]
    for token in [*alphabet, *(f"{byte}</w>" for byte in alphabet), START, END]:
        vocabulary.setdefault(token, len(vocabulary))
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in learned["merges"]]
    return _save(vocabulary, merges, out)


def _save(vocabulary: dict[str, int], merges: list[str], out: Path) -> CLIPTokenizer:
    """Write CLIP's three files, and let transformers turn them into its own."""
    marks = dict(bos_token=START, eos_token=END, unk_token=END, pad_token=END)
    settings = dict(
        tokenizer_class="CLIPTokenizer", model_max_length=CONTEXT, do_lower_case=True, errors="replace", add_prefix_space=False
    )
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        (files / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
        (files / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
        (files / "tokenizer_config.json").write_text(json.dumps(settings | marks))
        CLIPTokenizer.from_pretrained(folder).save_pretrained(out)
    return CLIPTokenizer.from_pretrained(out)


def encode(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> torch.Tensor:
    """Return token ids, int64 [captions, CONTEXT]."""
    batch = tokenizer(list(captions), padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt")
    ids: torch.Tensor = batch.input_ids
    return ids


def main() -> None:
    """Train on the scenes' captions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tokenizer = train(corpus(options.assets), options.out)
    print(f"{len(tokenizer)} tokens")


if __name__ == "__main__":
    main()
