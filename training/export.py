"""Put the trained parts together: a diffusers folder in half precision, with its model card.

python -m training.export --work DIR --out DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import CLIPTokenizer

from training import autoencoder, checkpoints, denoiser, distill
from training.models import assemble, build_denoiser, build_text_encoder, export

CARD = Path(__file__).with_name("CARD.md")


def main() -> None:
    """Write the folder, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tokenizer = CLIPTokenizer.from_pretrained(options.work / "tokenizer")
    network, text_encoder = build_denoiser(), build_text_encoder(tokenizer)
    checkpoints.restore(checkpoints.load(options.work, denoiser.NAME), text_encoder=text_encoder)
    checkpoints.restore(checkpoints.load(options.work, distill.NAME), denoiser=network)
    coder = autoencoder.load(options.work, torch.device("cpu")).to(memory_format=torch.contiguous_format)
    coder.register_to_config(scaling_factor=1.0)
    export(assemble(coder, text_encoder, tokenizer, network), options.out)
    (options.out / "README.md").write_text(CARD.read_text())
    size = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    print(f"{options.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
