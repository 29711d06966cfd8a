"""Tiny randomly initialised models, saved in the formats that the real ones come in."""

from pathlib import Path

import numpy as np
import torch

from m3_ros.features.encoder import FeatureMap
from m3_ros.features.torchvision_door import ensure_torchvision


def save_dinov2(folder: Path, seed: int = 0, registers: int = 0) -> Path:
    """Save a DINOv2 of 2 blocks with patches of 14 px."""
    ensure_torchvision()
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 70, "patch_size": 14}
    if registers:
        config = Dinov2WithRegistersConfig(num_register_tokens=registers, **sizes)
        Dinov2WithRegistersModel(config).save_pretrained(folder)
    else:
        Dinov2Model(Dinov2Config(**sizes)).save_pretrained(folder)
    return folder


def save_dinov3(folder: Path, seed: int = 0) -> Path:
    """Save a DINOv3 ViT of 2 blocks with patches of 16 px and 4 registers."""
    ensure_torchvision()
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    torch.manual_seed(seed)
    config = DINOv3ViTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=16,
        num_register_tokens=4,
    )  # fmt: skip
    DINOv3ViTModel(config).save_pretrained(folder)
    return folder


def square_image(width: int, height: int, left: int, top: int, side: int) -> np.ndarray:
    """Draw a bright square on a dark, faintly textured ground."""
    ground = np.random.default_rng(0).integers(20, 40, (height, width, 3))
    image = ground.astype(np.uint8)
    image[top : top + side, left : left + side] = (250, 240, 60)
    return image


def centre_of_change(seen: FeatureMap, blank: FeatureMap, share: float = 0.3) -> tuple[float, float]:
    """Return the middle (u, v) [px] of the cells that differ most between two maps of one size.

    Args:
        seen: map of an image with something in it.
        blank: map of the same image without it.
        share: a cell counts if it changed by this share of what the most changed cell did.
    """
    change = (seen.dense() - blank.dense()).norm(dim=-1)
    weight = (change - share * change.max()).clamp(min=0)
    h, w = weight.shape
    W, H = seen.image_size
    v, u = torch.meshgrid((torch.arange(h) + 0.5) * H / h, (torch.arange(w) + 0.5) * W / w, indexing="ij")
    return float((u * weight).sum() / weight.sum()), float((v * weight).sum() / weight.sum())
