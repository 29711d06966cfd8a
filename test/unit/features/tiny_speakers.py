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


def save_blip(folder: Path, seed: int = 0) -> Path:
    """Save a BLIP, which is shown a picture and captions it without being asked."""
    ensure_torchvision()
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessorPil,
        BlipProcessor,
        BlipTextConfig,
        BlipVisionConfig,
    )

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join([*special, *WORDS]))
    tokenizer = BertTokenizer(str(vocabulary), bos_token="[DEC]")
    text = BlipTextConfig(
        vocab_size=len(special) + len(WORDS), hidden_size=16, encoder_hidden_size=16, intermediate_size=32,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=64,
        bos_token_id=special.index("[DEC]"), eos_token_id=3, sep_token_id=3, pad_token_id=0,
    )  # fmt: skip
    vision = BlipVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    torch.manual_seed(seed)
    model = BlipForConditionalGeneration(
        BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    )
    liven(model, seed)
    decoder = model.text_decoder.cls.predictions.decoder
    decoder.weight.data[: len(special)] = 0
    decoder.bias.data[: len(special)] = -20
    model.generation_config.update(bos_token_id=special.index("[DEC]"), eos_token_id=3, pad_token_id=0)
    model.save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def save_llava(folder: Path, seed: int = 0) -> Path:
    """Save a LLaVA, which is asked about a picture in a chat."""
    ensure_torchvision()
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = tiny_tokenizer("<image>")
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    config = LlavaConfig(
        vision_config=vision, text_config=llama_config(tokenizer), image_token_index=tokenizer.image_token_id
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config)
    liven(model, seed)
    model.lm_head.weight.data[: tokenizer.image_token_id + 1] = 0
    model.save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    LlavaProcessor(
        pictures, tokenizer, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=CHAT.replace("<|image|>", "<image>"), image_token="<image>",
    ).save_pretrained(folder)  # fmt: skip
    return folder


def llama_config(tokenizer):
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def save_llama(folder: Path, seed: int = 0) -> Path:
    """Save a LLaMA 3 of 3 layers."""
    ensure_torchvision()
    from transformers import LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(llama_config(tokenizer))
    liven(model, seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
