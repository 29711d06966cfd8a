"""Pictures into short captions: by any local vision-language model, or by a server that speaks OpenAI's protocol."""

import base64
import hashlib
import io
import json
import os
import urllib.error
import urllib.request
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray

from m3_ros.errors import EncoderError
from m3_ros.features.compute import Compute
from m3_ros.features.pretrained import load_pretrained
from m3_ros.features.weights import fingerprint, model_folder

DEFAULT_SOURCE = "Salesforce/blip-image-captioning-base"
PROMPT = "Name the main object in this picture with its colour and material, in at most eight words."
KEY_VARIABLE = "M3_CAPTION_KEY"
"""Environment variable with the key that a caption server asks for, if it asks for one."""

_MAX_TOKENS = 20
_TIMEOUT_S = 120.0
_TASK_TOKENS = {"florence2": "<CAPTION>"}
"""What models without a chat are asked with, by model type; others are shown the picture and nothing else."""


class Captioner(Protocol):
    """Says in words what a picture shows."""

    @property
    def version(self) -> str:
        """Fingerprint of all that its captions depend on."""
        ...

    def caption(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> str:
        """Caption one picture in one line; empty if it has nothing to say."""
        ...


def load_captioner(source: str, encoder: str, compute: Compute) -> Captioner:
    """Load a model from a folder or the hub's cache, or name a server as "http://HOST:PORT/v1#MODEL".

    Raises:
        EncoderError: the weights are missing or broken, or the address names no model.
    """
    if source.startswith(("http://", "https://")):
        return EndpointCaptioner(source)
    folder = model_folder(source or DEFAULT_SOURCE, encoder)
    network = load_pretrained("AutoModelForImageTextToText", folder, encoder, dtype="auto")
    return LocalCaptioner(network, load_pretrained("AutoProcessor", folder, encoder), compute)


class LocalCaptioner:
    """A model of transformers: one with a chat template is asked, one without is shown the picture. Greedy."""

    def __init__(self, network: Any, processor: Any, compute: Compute) -> None:
        template = getattr(processor, "chat_template", None)
        self.version = fingerprint(network, (template, PROMPT, _MAX_TOKENS, processor.image_processor.to_dict(), 1))
        """Fingerprint of weights, preprocessing and prompt."""
        self._network: Any = compute.cast(network)
        self._processor, self._chats = processor, bool(template)

    @torch.inference_mode()
    def caption(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> str:
        """Caption one picture in one line."""
        inputs = self._inputs(rgb).to(self._network.device, self._network.dtype)
        said = self._network.generate(**inputs, max_new_tokens=_MAX_TOKENS, do_sample=False, num_beams=1)[0]
        asked = inputs.get("input_ids")
        if asked is not None and not self._network.config.is_encoder_decoder:
            said = said[asked.shape[1] :]
        return one_line(self._processor.tokenizer.decode(said, skip_special_tokens=True))

    def _inputs(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> Any:
        from PIL import Image

        picture = Image.fromarray(np.ascontiguousarray(rgb))
        if self._chats:
            content = [{"type": "image", "image": picture}, {"type": "text", "text": PROMPT}]
            return self._processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        task = _TASK_TOKENS.get(self._network.config.model_type)
        return self._processor(images=picture, return_tensors="pt", **({"text": task} if task else {}))


class EndpointCaptioner:
    """A server that speaks OpenAI's chat protocol, such as one of llama.cpp, vLLM or Ollama on this machine."""

    def __init__(self, address: str) -> None:
        """Take "http://HOST:PORT/v1#MODEL".

        Raises:
            EncoderError: there is no model in it.
        """
        base, _, self._model = address.partition("#")
        if not self._model:
            raise EncoderError(f"a caption server is named as http://HOST:PORT/v1#MODEL; got {address!r}")
        self._url = f"{base.rstrip('/')}/chat/completions"
        self.version = hashlib.sha256(f"{address} {PROMPT} {_MAX_TOKENS} 1".encode()).hexdigest()[:16]
        """Fingerprint of address and prompt; what weights the server has, it does not say."""

    def caption(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> str:
        """Caption one picture in one line.

        Raises:
            EncoderError: the server cannot be reached, refuses, or answers something else.
        """
        body = {"model": self._model, "messages": [_message(rgb)], "temperature": 0, "max_tokens": _MAX_TOKENS}
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)  # noqa: S310 - http(s) only
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                text = json.load(answer)["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            reason = one_line(error.read(500).decode(errors="replace"))
            raise EncoderError(f"the caption server {self._url} refused ({error.code}): {reason}") from error
        except OSError as error:
            raise EncoderError(f"the caption server {self._url} cannot be reached ({error}): is it running?") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EncoderError(
                f"{self._url} does not answer as a chat server does ({type(error).__name__}: {error}): "
                "the address must end in /v1#MODEL"
            ) from error
        return one_line(str(text or ""))


def one_line(text: str) -> str:
    """Bring what a model said onto one line of at most 200 characters."""
    return " ".join(text.split())[:200].strip()


def _message(rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> dict[str, object]:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": PROMPT}],
    }
