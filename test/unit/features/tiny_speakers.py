"""Tiny randomly initialised models with a language half, saved as `save_pretrained` saves the real ones."""

from pathlib import Path

import torch

from m3_ros.features.torchvision_door import ensure_torchvision

WORDS = "a the red blue chair table lamp cup on of in what is this describe see you . , ? :".split()  # noqa: SIM905
CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }} : {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|image|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %} is :"
)


def tiny_tokenizer(image_token: str = "<|image|>"):
    """Make a fast tokenizer of whole words, with the special tokens of a chat model."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<bos>", "<eos>", image_token]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>",
        extra_special_tokens={"image_token": image_token},
    )  # fmt: skip


def liven(model: torch.nn.Module, seed: int) -> None:
    """Redraw the matrices wider than at first: else what such small models say hardly depends on what they see."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        if "gate" in name:
            value.data.fill_(1.0)
        elif value.ndim > 1:
            value.data.copy_(torch.randn(value.shape, generator=generator) * (2.0 / value.shape[-1]) ** 0.5)


def save_mllama(folder: Path, seed: int = 0, chat: bool = True) -> Path:
    """Save a Llama 3.2 Vision of tiles of 28 px, 4 x 4 tokens each."""
    ensure_torchvision()
    from transformers import MllamaConfig, MllamaForConditionalGeneration, MllamaImageProcessorPil, MllamaProcessor
    from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

    tokenizer = tiny_tokenizer()
    vision = MllamaVisionConfig(
        hidden_size=16, num_hidden_layers=2, num_global_layers=1, attention_heads=2, intermediate_size=32,
        image_size=28, patch_size=7, intermediate_layers_indices=[0, 1], vision_output_dim=48, max_num_tiles=4,
    )  # fmt: skip
    text = MllamaTextConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, cross_attention_layers=[1], max_position_embeddings=256,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = MllamaForConditionalGeneration(
        MllamaConfig(vision_config=vision, text_config=text, image_token_index=tokenizer.image_token_id)
    )
    liven(model, seed)
    model.lm_head.weight.data[: tokenizer.image_token_id + 1] = 0  # says words, hardly ever the end
    pictures = MllamaImageProcessorPil(size={"height": 28, "width": 28}, max_image_tiles=4)
    model.save_pretrained(folder)
    MllamaProcessor(pictures, tokenizer, chat_template=CHAT if chat else None).save_pretrained(folder)
    return folder
