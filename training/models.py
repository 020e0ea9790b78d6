"""The networks, all of them diffusers' and transformers' own classes, and the pipeline they make."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DDPMScheduler, LCMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from training.tokenizer import CONTEXT

SIZE = 256  # pixels, the default picture
SCALE = 8  # pixels of a latent cell, both ways
LATENT_CHANNELS = 8
TEXT_WIDTH = 192
STEPS = 4  # of the distilled model
TIMESTEPS = 1000
NOISE = dict(
    num_train_timesteps=TIMESTEPS,
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
)
LATENT_RANGE = 5.0  # latents have unit variance; a predicted picture outside this range is clipped
SHARD = "14MB"


def build_autoencoder(width: int = 64) -> AutoencoderTiny:
    """Build the autoencoder; its decoder does no work at full size but two convolutions."""
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(width,) * 4,
        decoder_block_out_channels=(width,) * 4,
        num_encoder_blocks=(0, 2, 3, 4),
        num_decoder_blocks=(4, 3, 2, 0),
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """Build a small CLIP text encoder, to be trained with the denoiser."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=4,
            num_attention_heads=3,
            max_position_embeddings=CONTEXT,
            projection_dim=TEXT_WIDTH,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_denoiser(widths: tuple[int, ...] = (96, 160, 192), heads: tuple[int, ...] = (3, 5, 6)) -> UNet2DConditionModel:
    """Build the denoiser; it attends to the text at 16×16 and 8×8 cells."""
    return UNet2DConditionModel(
        sample_size=SIZE // SCALE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=heads,  # heads, in fact: diffusers keeps the old name
        use_linear_projection=True,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text_time",
        addition_time_embed_dim=16,
        projection_class_embeddings_input_dim=6 * 16 + TEXT_WIDTH,
    )


def read_text(text_encoder: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return (tokens [batch, CONTEXT, TEXT_WIDTH], pooled [batch, TEXT_WIDTH]), as StableDiffusionXLPipeline does."""
    read = text_encoder(ids, output_hidden_states=True)
    return read.hidden_states[-2], read.text_embeds


def size_ids(count: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return the six numbers SDXL tells its denoiser about the picture's size, float32 [count, 6]."""
    return torch.tensor([[height, width, 0, 0, height, width]], device=device, dtype=torch.float32).expand(count, 6)


def noise_levels(device: torch.device) -> Tensor:
    """Return the signal's share of the variance at each timestep, float32 [TIMESTEPS]."""
    levels: Tensor = DDPMScheduler(**NOISE).alphas_cumprod
    return levels.to(device)


def sampler() -> LCMScheduler:
    """Build the scheduler of the distilled model; any number of steps up to 1000 is allowed."""
    return LCMScheduler(**NOISE, original_inference_steps=TIMESTEPS, clip_sample=True, clip_sample_range=LATENT_RANGE)


def assemble(
    autoencoder: AutoencoderTiny,
    text_encoder: CLIPTextModelWithProjection,
    tokenizer: CLIPTokenizer,
    denoiser: UNet2DConditionModel,
) -> StableDiffusionXLPipeline:
    """Return the pipeline. Without a negative prompt, guidance compares with zeros, as in training."""
    return StableDiffusionXLPipeline(
        vae=autoencoder,
        text_encoder=None,
        text_encoder_2=text_encoder,
        tokenizer=None,
        tokenizer_2=tokenizer,
        unet=denoiser,
        scheduler=sampler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def export(pipeline: StableDiffusionXLPipeline, folder: Path) -> None:
    """Write the pipeline in half precision, in files that a repository takes."""
    pipeline.to("cpu", torch.float16)
    pipeline.save_pretrained(folder, max_shard_size=SHARD)
    settings = folder / "vae" / "config.json"
    kept = {key: value for key, value in json.loads(settings.read_text()).items() if key != "block_out_channels"}
    settings.write_text(json.dumps(kept, indent=2) + "\n")  # a derived value that loading would warn about


def parameters(module: nn.Module) -> int:
    """Count the parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
