"""The exact architectures of the table of models, with random weights, made on the GPU in seconds and without a download.

Time and memory do not depend on what the weights are; the numbers below are those of each model's own config.json, and each
network has as many weights as is published. Weights are drawn as an initialisation would, not zeros, on which a GPU runs faster
than on anything real. The tokenizers, whose files are not here, are stood in for by one that hashes words to the right lengths.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, Final

import accelerate  # type: ignore[import-untyped]
import diffusers
import torch
import transformers

if TYPE_CHECKING:
    from collections.abc import Callable

FOUR: Final = {"down_block_types": 4 * ("DownEncoderBlock2D",), "up_block_types": 4 * ("UpDecoderBlock2D",)}
VAE: Final[dict[str, Any]] = {
    **FOUR,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
VAE16: Final = {
    **VAE,
    "latent_channels": 16,
    "sample_size": 1024,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "force_upcast": True,
}
SD15_UNET: Final = {
    "sample_size": 64,
    "down_block_types": (*3 * ("CrossAttnDownBlock2D",), "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *3 * ("CrossAttnUpBlock2D",)),
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SDXL_UNET: Final = {
    "sample_size": 128,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "cross_attention_dim": 2048,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SD35_MEDIUM: Final = {
    "sample_size": 128,
    "num_layers": 24,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 384,
    "qk_norm": "rms_norm",
    "dual_attention_layers": tuple(range(13)),
}
CLIP_L: Final = {"projection_dim": 768, "bos_token_id": 0, "eos_token_id": 2}
BIGG: Final = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
T5_XXL: Final[dict[str, Any]] = {
    "d_model": 4096,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
QWEN3_4B: Final[dict[str, Any]] = {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
}
BETAS: Final = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
DEVICE: Final = "cuda" if torch.cuda.is_available() else "cpu"


class StandIn:
    """A tokenizer that gives each word a number by hashing it."""

    def __init__(self, length: int, words: int) -> None:
        self.model_max_length, self._words = length, words
        self.pad_token_id = 0
        self.added_tokens_encoder: dict[str, int] = {}

    def __call__(self, texts: Any, padding: Any = None, max_length: int | None = None, **_: Any) -> Any:
        """Return the numbers of texts."""
        rows = [[1 + zlib.crc32(word.encode()) % (self._words - 4) for word in text.split()] for text in _listed(texts)]
        length = max_length or self.model_max_length
        length = length if padding == "max_length" else min(length, max(map(len, rows)) + 1)
        ids = torch.zeros((len(rows), length), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            kept = [*row[: length - 1], 2]
            ids[number, : len(kept)] = torch.tensor(kept)
            mask[number, : len(kept)] = 1
        return transformers.BatchEncoding({"input_ids": ids, "attention_mask": mask})

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text."""
        return text.split()

    def batch_decode(self, ids: Any) -> list[str]:
        """Return something for what was cut off."""
        return ["…" for _ in ids]

    def apply_chat_template(self, messages: Any, **_: Any) -> str:
        """Return a message as a model is given it."""
        return f"<|im_start|> user {messages[0]['content']} <|im_end|> <|im_start|> assistant"


def build(name: str, dtype: torch.dtype) -> Any:
    """Return the pipeline of a row of the table, on the GPU."""
    pipeline = PIPELINES[name](dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def made(dtype: torch.dtype, model: Callable[[], Any]) -> Any:
    """Make a network with its weights drawn on the GPU, each as wide as keeps what goes through it in bounds."""
    with accelerate.init_empty_weights(include_buffers=False):
        network = model()
    if hasattr(network, "tie_weights"):
        network.tie_weights()
    weights: dict[int, torch.nn.Parameter] = {}
    for part in network.modules():
        for key, weight in part._parameters.items():
            if weight is None:
                continue
            if id(weight) not in weights:
                weights[id(weight)] = torch.nn.Parameter(_drawn(part, key, weight, dtype), requires_grad=False)
            part._parameters[key] = weights[id(weight)]
    return network.to(DEVICE).eval()


def _drawn(part: Any, key: str, weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    drawn = torch.empty(weight.shape, dtype=dtype, device=DEVICE)
    if weight.ndim < 2:
        return drawn.fill_(0.0 if key == "bias" else 1.0)
    return drawn.normal_(0, 0.02 if isinstance(part, torch.nn.Embedding) else 0.7 / math.sqrt(weight[0].numel()))


def _listed(texts: Any) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def _vae(dtype: torch.dtype, **given: Any) -> Any:
    return made(dtype, lambda: diffusers.AutoencoderKL(**{**VAE, **given}))  # type: ignore[no-untyped-call]


def _clip(dtype: torch.dtype, kind: Any, **given: Any) -> Any:
    return made(dtype, lambda: kind(transformers.CLIPTextConfig(**({"hidden_size": 768, "intermediate_size": 3072} | given))))


def _t5(dtype: torch.dtype) -> Any:
    return made(dtype, lambda: transformers.T5EncoderModel(transformers.T5Config(**T5_XXL)))


def _clip_words() -> StandIn:
    return StandIn(77, 49408)


def _sd15(dtype: torch.dtype) -> Any:
    return diffusers.StableDiffusionPipeline(  # type: ignore[no-untyped-call]
        vae=_vae(dtype),
        text_encoder=_clip(dtype, transformers.CLIPTextModel, num_attention_heads=12, **CLIP_L),
        tokenizer=_clip_words(),
        unet=made(dtype, lambda: diffusers.UNet2DConditionModel(**SD15_UNET)),  # type: ignore[no-untyped-call]
        scheduler=diffusers.PNDMScheduler(skip_prk_steps=True, **BETAS),  # type: ignore[no-untyped-call]
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl(dtype: torch.dtype, scheduler: Any = None) -> Any:
    return diffusers.StableDiffusionXLPipeline(  # type: ignore[no-untyped-call]
        vae=_vae(dtype, sample_size=1024, scaling_factor=0.13025, force_upcast=True),
        text_encoder=_clip(dtype, transformers.CLIPTextModel, num_attention_heads=12, **CLIP_L),
        text_encoder_2=_clip(dtype, transformers.CLIPTextModelWithProjection, **BIGG),
        tokenizer=_clip_words(),
        tokenizer_2=_clip_words(),
        unet=made(dtype, lambda: diffusers.UNet2DConditionModel(**SDXL_UNET)),  # type: ignore[no-untyped-call]
        scheduler=scheduler or diffusers.EulerDiscreteScheduler(**BETAS),  # type: ignore[no-untyped-call]
        add_watermarker=False,
    )


def _sdxl_turbo(dtype: torch.dtype) -> Any:
    return _sdxl(dtype, diffusers.EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **BETAS))  # type: ignore[no-untyped-call]


def _sd35(dtype: torch.dtype) -> Any:
    return diffusers.StableDiffusion3Pipeline(  # type: ignore[no-untyped-call]
        vae=_vae(dtype, **(VAE16 | {"scaling_factor": 1.5305, "shift_factor": 0.0609})),
        transformer=made(dtype, lambda: diffusers.SD3Transformer2DModel(**SD35_MEDIUM, in_channels=16, out_channels=16)),  # type: ignore[no-untyped-call]
        text_encoder=_clip(dtype, transformers.CLIPTextModelWithProjection, num_attention_heads=12, **CLIP_L),
        text_encoder_2=_clip(dtype, transformers.CLIPTextModelWithProjection, **BIGG),
        text_encoder_3=_t5(dtype),
        tokenizer=_clip_words(),
        tokenizer_2=_clip_words(),
        tokenizer_3=StandIn(512, 32128),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),  # type: ignore[no-untyped-call]
    )


def _flux(dtype: torch.dtype, *, dev: bool = False) -> Any:
    return diffusers.FluxPipeline(  # type: ignore[no-untyped-call]
        vae=_vae(dtype, **(VAE16 | {"scaling_factor": 0.3611, "shift_factor": 0.1159})),
        transformer=made(dtype, lambda: diffusers.FluxTransformer2DModel(guidance_embeds=dev)),  # type: ignore[no-untyped-call]
        text_encoder=_clip(dtype, transformers.CLIPTextModel, num_attention_heads=12, **CLIP_L),
        text_encoder_2=_t5(dtype),
        tokenizer=_clip_words(),
        tokenizer_2=StandIn(512, 32128),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0 if dev else 1.0, use_dynamic_shifting=dev),  # type: ignore[no-untyped-call]
    )


def _z_image(dtype: torch.dtype) -> Any:
    return diffusers.ZImagePipeline(  # type: ignore[no-untyped-call]
        vae=_vae(dtype, **(VAE16 | {"scaling_factor": 0.3611, "shift_factor": 0.1159})),
        transformer=made(dtype, diffusers.ZImageTransformer2DModel),
        text_encoder=made(dtype, lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**QWEN3_4B))),
        tokenizer=StandIn(512, 151936),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),  # type: ignore[no-untyped-call]
    )


PIPELINES: Final[dict[str, Callable[[torch.dtype], Any]]] = {
    "sd15": _sd15,
    "sdxl": _sdxl,
    "sdxl-turbo": _sdxl_turbo,
    "sd35-medium": _sd35,
    "flux-schnell": _flux,
    "flux-dev": lambda dtype: _flux(dtype, dev=True),
    "z-image-turbo": _z_image,
}
