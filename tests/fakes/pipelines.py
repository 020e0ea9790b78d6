"""Pipelines of the classes in the table of models: the same architecture, the layers few and narrow, the weights random.

Each is what its repository holds: the same parts under the same names, so that saving one and loading it takes the path
that the real one takes.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.models import Model

WIDTH = 32  # of every text encoder
FOUR = 4 * ("DownEncoderBlock2D",), 4 * ("UpDecoderBlock2D",)  # a picture is halved three times, as in all of them
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def build(model: Model) -> Any:
    """Return a toy of a model: always the same one."""
    torch.manual_seed(0)
    return TOYS[model.name]()


def stable_diffusion() -> Any:
    blocks = {
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return diffusers.StableDiffusionPipeline(  # type: ignore[no-untyped-call]
        vae=autoencoder(4),
        text_encoder=clip(CLIPTextModel),
        tokenizer=clip_tokenizer(),
        unet=unet(cross_attention_dim=WIDTH, **blocks),
        scheduler=diffusers.PNDMScheduler(skip_prk_steps=True, **BETAS),  # type: ignore[no-untyped-call]
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl(scheduler: Any = None) -> Any:
    times = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,
        "transformer_layers_per_block": (1, 2),
        "use_linear_projection": True,
    }
    return diffusers.StableDiffusionXLPipeline(  # type: ignore[no-untyped-call]
        vae=autoencoder(4, force_upcast=True),
        text_encoder=clip(CLIPTextModel),
        text_encoder_2=clip(CLIPTextModelWithProjection),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet(cross_attention_dim=2 * WIDTH, **times),
        scheduler=scheduler or diffusers.EulerDiscreteScheduler(**BETAS),  # type: ignore[no-untyped-call]
    )


def stable_diffusion_xl_turbo() -> Any:
    scheduler = diffusers.EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **BETAS)  # type: ignore[no-untyped-call]
    return stable_diffusion_xl(scheduler)


def stable_diffusion_3() -> Any:
    transformer = diffusers.SD3Transformer2DModel(  # type: ignore[no-untyped-call]
        sample_size=8,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
    )
    return diffusers.StableDiffusion3Pipeline(  # type: ignore[no-untyped-call]
        vae=autoencoder(16, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        transformer=transformer,
        text_encoder=clip(CLIPTextModelWithProjection),
        text_encoder_2=clip(CLIPTextModelWithProjection),
        text_encoder_3=t5(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        tokenizer_3=t5_tokenizer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),  # type: ignore[no-untyped-call]
    )


def flux(*, dev: bool) -> Any:
    transformer = diffusers.FluxTransformer2DModel(  # type: ignore[no-untyped-call]
        in_channels=64,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
        guidance_embeds=dev,
    )
    return diffusers.FluxPipeline(  # type: ignore[no-untyped-call]
        vae=autoencoder(16, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        transformer=transformer,
        text_encoder=clip(CLIPTextModel),
        text_encoder_2=t5(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=dev),  # type: ignore[no-untyped-call]
    )


def z_image() -> Any:
    transformer = diffusers.ZImageTransformer2DModel(  # type: ignore[no-untyped-call]
        in_channels=16,
        dim=WIDTH,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 6, 6],
        axes_lens=[512, 64, 64],
    )
    letters = {letter: index for index, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Qwen2Tokenizer(vocab=letters, merges=[])
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    return diffusers.ZImagePipeline(  # type: ignore[no-untyped-call]
        vae=autoencoder(16, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        transformer=transformer,
        text_encoder=Qwen3ForCausalLM(config),
        tokenizer=tokenizer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),  # type: ignore[no-untyped-call]
    )


TOYS: dict[str, Callable[[], Any]] = {
    "sketch": stable_diffusion_xl,
    "sd15": stable_diffusion,
    "sdxl": stable_diffusion_xl,
    "sdxl-turbo": stable_diffusion_xl_turbo,
    "sd35-medium": stable_diffusion_3,
    "flux-schnell": lambda: flux(dev=False),
    "flux-dev": lambda: flux(dev=True),
    "z-image-turbo": z_image,
}


def unet(**given: Any) -> Any:
    usual = {
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return diffusers.UNet2DConditionModel(  # type: ignore[no-untyped-call]
        sample_size=8, block_out_channels=(16, 32), norm_num_groups=8, attention_head_dim=4, **usual | given
    )


def autoencoder(channels: int, **given: Any) -> Any:
    return diffusers.AutoencoderKL(  # type: ignore[no-untyped-call]
        sample_size=64,
        latent_channels=channels,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=FOUR[0],
        up_block_types=FOUR[1],
        **given,
    )


def clip(kind: Any) -> Any:
    return kind(
        CLIPTextConfig(
            vocab_size=len(clip_tokenizer()),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            projection_dim=WIDTH,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def clip_tokenizer() -> Any:
    letters = [letter + end for letter in string.ascii_lowercase for end in ("", "</w>")]
    vocabulary = {token: index for index, token in enumerate(["<|startoftext|>", "<|endoftext|>", *letters])}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def t5() -> Any:
    sizes: dict[str, Any] = {"d_model": WIDTH, "d_kv": 8, "d_ff": 2 * WIDTH, "num_layers": 2, "num_heads": 4}
    return T5EncoderModel(T5Config(vocab_size=len(t5_tokenizer()), feed_forward_proj="gated-gelu", **sizes))


def t5_tokenizer() -> Any:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return T5Tokenizer(vocab=[*special, ("▁", -2.0), *((letter, -3.0) for letter in string.ascii_lowercase)], extra_ids=0)
