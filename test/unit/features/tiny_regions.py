"""Tiny models of masks: randomly initialised ones saved as the real ones are, and one whose answers are known."""

from pathlib import Path
from types import SimpleNamespace

import torch

from m3_ros.features.torchvision_door import ensure_torchvision


def save_sam(folder: Path, seed: int = 0) -> Path:
    """Save a SAM of 64 px that is sure of its masks: heads are scaled so that any click gives stable ones."""
    ensure_torchvision()
    from transformers import SamConfig, SamImageProcessorPil, SamModel, SamProcessor
    from transformers.models.sam.configuration_sam import SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig

    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16, output_channels=32, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=8,
            global_attn_indexes=[0], num_pos_feats=16, window_size=4, initializer_range=0.2,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=32, image_size=64, patch_size=8, mask_input_channels=4
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=32, mlp_dim=32, num_attention_heads=2, num_hidden_layers=1, iou_head_hidden_dim=16
        ),
    )  # fmt: skip
    torch.manual_seed(seed)
    model = SamModel(config)
    liven_masks(model, seed)
    model.save_pretrained(folder)
    pictures = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    SamProcessor(pictures).save_pretrained(folder)
    return folder


def save_sam_hq(folder: Path, seed: int = 0) -> Path:
    """Save a SAM-HQ, whose decoder also looks at an early layer."""
    ensure_torchvision()
    from transformers import SamHQConfig, SamHQModel, SamHQProcessor, SamImageProcessorPil
    from transformers.models.sam_hq.configuration_sam_hq import (
        SamHQMaskDecoderConfig,
        SamHQPromptEncoderConfig,
        SamHQVisionConfig,
    )

    config = SamHQConfig(
        vision_config=SamHQVisionConfig(
            hidden_size=16, output_channels=32, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=8,
            global_attn_indexes=[0], num_pos_feats=16, window_size=0, initializer_range=0.2,
        ),
        prompt_encoder_config=SamHQPromptEncoderConfig(
            hidden_size=32, image_size=64, patch_size=8, mask_input_channels=4
        ),
        mask_decoder_config=SamHQMaskDecoderConfig(
            hidden_size=32, mlp_dim=32, num_attention_heads=2, num_hidden_layers=1, iou_head_hidden_dim=16, vit_dim=16
        ),
    )  # fmt: skip
    torch.manual_seed(seed)
    model = SamHQModel(config)
    liven_masks(model, seed)
    model.save_pretrained(folder)
    SamHQProcessor(
        SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    ).save_pretrained(folder)
    return folder


def save_sam2_video(folder: Path, seed: int = 0) -> Path:
    """Save a SAM 2 as its published weights come: as the model for films, of which the model for pictures is a part."""
    save_sam2(folder, seed)
    from safetensors.torch import load_file, save_file
    from transformers import Sam2Config, Sam2VideoConfig, Sam2VideoModel

    config = Sam2Config.from_pretrained(folder)
    film = Sam2VideoModel(Sam2VideoConfig(
        vision_config=config.vision_config, prompt_encoder_config=config.prompt_encoder_config.to_dict(),
        mask_decoder_config=config.mask_decoder_config.to_dict(), memory_attention_hidden_size=32,
        memory_encoder_hidden_size=32,
    ))  # fmt: skip
    weights = load_file(folder / "model.safetensors")
    film.save_pretrained(folder)
    save_file({**load_file(folder / "model.safetensors"), **weights}, folder / "model.safetensors", {"format": "pt"})
    return folder


def save_sam2(folder: Path, seed: int = 0) -> Path:
    """Save a SAM 2 of 64 px."""
    ensure_torchvision()
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor, Sam2VisionConfig
    from transformers.models.sam2.configuration_sam2 import (
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2PromptEncoderConfig,
    )

    backbone = Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, image_size=[64, 64], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 1, 2, 2], window_size_per_stage=[4] * 4,
        global_attention_blocks=[3], window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    config = Sam2Config(
        vision_config=Sam2VisionConfig(
            backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=32,
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        ),
        prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=32, image_size=64, patch_size=16),
        mask_decoder_config=Sam2MaskDecoderConfig(
            hidden_size=32, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16
        ),
    )  # fmt: skip
    torch.manual_seed(seed)
    model = Sam2Model(config)
    liven_masks(model, seed)
    model.save_pretrained(folder)
    pictures = Sam2ImageProcessor(size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16})
    Sam2Processor(pictures).save_pretrained(folder)
    return folder


def liven_masks(model: torch.nn.Module, seed: int) -> None:
    """Draw all weights anew, sharpen the masks, and make the model sure of every one of them."""
    generator = torch.Generator().manual_seed(seed)
    for value in model.parameters():
        if value.ndim > 1:
            value.data.copy_(torch.randn(value.shape, generator=generator) * value[0].numel() ** -0.5)
    for head in model.mask_decoder.output_hypernetworks_mlps:
        head.proj_out.weight.data *= 1000
    model.mask_decoder.iou_prediction_head.proj_out.bias.data.fill_(5.0)


class Thresholds(torch.nn.Module):
    """Stands in for a network: its masks are what is brighter, and what is darker, than grey where it was clicked."""

    def __init__(self, stride: int = 4):
        super().__init__()
        self.stride, self.anchor = stride, torch.nn.Parameter(torch.zeros(1))
        self.prompts = []

    def get_image_embeddings(self, pixels):
        return torch.nn.functional.avg_pool2d(pixels.float().mean(1, keepdim=True), self.stride)

    def forward(self, image_embeddings, multimask_output, input_points=None, input_labels=None, input_boxes=None):
        self.prompts.append(input_points if input_boxes is None else input_boxes)
        logits = 100 * image_embeddings[0, 0]
        count = self.prompts[-1].shape[1]
        masks = torch.stack([logits, -logits, logits * 0 - 1] if multimask_output else [logits])
        scores = torch.tensor([0.95, 0.9, 0.3][: len(masks)])
        return SimpleNamespace(pred_masks=masks.expand(1, count, *masks.shape), iou_scores=scores.expand(1, count, -1))


def sam_pictures(side: int = 256):
    """Make SAM's own image processor: the long side resized, the short one padded."""
    ensure_torchvision()
    from transformers import SamImageProcessorPil

    return SamImageProcessorPil(
        size={"longest_edge": side}, pad_size={"height": side, "width": side},
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip


def sam2_pictures(side: int = 256):
    """Make SAM 2's own image processor: the picture squashed to a square."""
    ensure_torchvision()
    from transformers import Sam2ImageProcessor

    return Sam2ImageProcessor(size={"height": side, "width": side}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
