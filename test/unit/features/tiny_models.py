"""Tiny randomly initialised models, saved in the formats that the real ones come in."""

import json
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


CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
"""A ViT of CLIP with 4x4 patches."""

_POOL = {"attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 2}
COCA = {**CLIP, "vision_cfg": {**CLIP["vision_cfg"], **_POOL}}
"""A ViT of CoCa, which pools by attention."""

CLIP_RESNET = {**CLIP, "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}}
"""A ResNet of CLIP."""

SIGLIP = {
    "embed_dim": 32,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"image_size": 64, "timm_model_name": "vit_m3_tiny_siglip", "timm_pool": "map", "timm_proj": "none"},
    "text_cfg": {
        "context_length": 16, "vocab_size": 64, "hf_tokenizer_name": "timm/none", "width": 16, "heads": 2, "layers": 2,
        "tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
    },
}  # fmt: skip
"""A SigLIP with 4x4 patches and a tokenizer of its own."""


TINY_TRUNK = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}


def vit_m3_tiny_siglip(**kwargs):
    """Build the image tower that SIGLIP names; registered in timm before it is used."""
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(**{**TINY_TRUNK, "class_token": False, **_of_ours(kwargs)})


def vit_m3_tiny_token(**kwargs):
    """Build a CLIP of timm's, which pools by its class token and scales its layers."""
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(**{**TINY_TRUNK, "pre_norm": True, "init_values": 0.5, **_of_ours(kwargs)})


def eva_m3_tiny(**kwargs):
    """Build an EVA02: rotary positions, gated layers, pooled by the class token."""
    from timm.models.eva import Eva

    gated = {"swiglu_mlp": True, "scale_mlp": True, "use_rot_pos_emb": True, "ref_feat_shape": (4, 4)}
    return Eva(**{**TINY_TRUNK, "qkv_fused": False, "mlp_ratio": 2.0, **gated, **_of_ours(kwargs)})


def vit_m3_tiny_pe_core(**kwargs):
    """Build a Perception Encoder of Meta: rotary positions and a class token, pooled by attention."""
    from timm.models.eva import Eva

    rotary = {"attn_type": "rope", "use_rot_pos_emb": True, "rope_grid_offset": 1.0, "rope_grid_indexing": "xy"}
    pool = {"attn_pool_num_heads": 2, "attn_pool_mlp_ratio": 2.0, "use_pre_transformer_norm": True}
    return Eva(**{**TINY_TRUNK, "ref_feat_shape": (4, 4), **rotary, **pool, **_of_ours(kwargs)})


def convnext_m3_tiny(**kwargs):
    """Build a ConvNeXt."""
    from timm.models.convnext import ConvNeXt

    trunk = ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 16, 32), **_of_ours(kwargs))
    trunk.default_cfg = {}
    return trunk


def _of_ours(kwargs):
    taken = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    return {key: value for key, value in kwargs.items() if key not in taken}


TRUNKS = (vit_m3_tiny_siglip, vit_m3_tiny_token, eva_m3_tiny, vit_m3_tiny_pe_core, convnext_m3_tiny)


def _with_trunk(name: str, **vision) -> dict:
    return {**CLIP, "vision_cfg": {"image_size": 64, "timm_model_name": name, **vision}}


CLIP_TOKEN = _with_trunk("vit_m3_tiny_token", timm_pool="token", timm_proj=None)
EVA = _with_trunk("eva_m3_tiny", timm_pool="token", timm_proj=None)
PE_CORE = _with_trunk("vit_m3_tiny_pe_core", timm_pool="map", timm_proj=None)
CONVNEXT = _with_trunk("convnext_m3_tiny", timm_pool="", timm_proj="linear")
"""Other towers that OpenCLIP takes from timm."""


def save_open_clip(folder: Path, config: dict, seed: int = 0, mean: float = 0.5) -> Path:
    """Save a model as the library does: a configuration, a checkpoint, and a tokenizer where the model names one."""
    from m3_ros.features.clip_files import import_open_clip

    open_clip = import_open_clip()
    import timm
    from safetensors.torch import save_file

    for trunk in TRUNKS:
        if not timm.is_model(trunk.__name__):
            timm.models.register_model(trunk)
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"model_cfg": config, "preprocess_cfg": {"mean": [mean] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    sizes = {key: value for key, value in config.items() if key != "custom_text"}
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    model = kind(**json.loads(json.dumps(sizes)))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    if "hf_tokenizer_name" in config["text_cfg"]:
        save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    """Save a tokenizer of a few words in the format of transformers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = "<pad> </s> <unk> a an the of photo in room there is scene chair table red blue sofa thing wall floor"
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words.split())}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder)


def downloaded(hub: Path, repository: str) -> Path:
    """Make an empty snapshot where `hf download` would put a repository."""
    cached = hub / f"models--{repository.replace('/', '--')}"
    snapshot = cached / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    return snapshot


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
