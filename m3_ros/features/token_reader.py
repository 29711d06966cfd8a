"""Vision tokens into words: the way back from a multimodal memory that the paper claims.

The language model of Mllama reads an image through cross-attention, which knows no positions: to it the tokens are a
set. So tokens rendered from a memory, any number of them and in any order, can be read as the true ones are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.encoder import FeatureMap, unit

PROMPT = "Describe what you see in one sentence."


@dataclass(frozen=True, eq=False)
class Words:
    """What the language model made of tokens."""

    text: str
    """Decoded text without special tokens."""
    ids: tuple[int, ...]
    """Generated tokens, the end token included."""
    logits: Float[Tensor, "n vocabulary"]
    """Scores from which each of them was chosen."""


@dataclass(frozen=True)
class Agreement:
    """How far rendered tokens say the same as the true ones."""

    cosine: float
    """Mean cosine of rendered to true tokens, over the cells that both have."""
    cells: int
    """Number of those cells."""
    same_words: float
    """Share of the true description's tokens that the rendered ones predict too, each after the true words before."""
    divergence: float
    """Mean Kullback-Leibler divergence of those predictions from the true ones [nat]."""
    true_text: str
    """Description from the true tokens."""
    rendered_text: str
    """Description from the rendered tokens."""


class TokenReader:
    """The language half of a multimodal model. Greedy: the same tokens and prompt give the same words."""

    def __init__(self, network: Any, processor: Any) -> None:
        """Wrap an MllamaForConditionalGeneration and its processor."""
        self._network, self._processor = network, processor
        end = network.generation_config.eos_token_id
        self._end = {end} if isinstance(end, int) else set(end or ())

    @torch.inference_mode()
    def generate(self, tokens: Float[Tensor, "n D"], prompt: str = PROMPT, max_tokens: int = 64) -> Words:
        """Say what tokens show, keeping the scores.

        Raises:
            EncoderError: there are no tokens, they are not of this model, or there is no prompt.
        """
        ids, states, cache, before = self._prompt(prompt), self._states(tokens), None, 0
        rows: list[Tensor] = []
        chosen: list[int] = []
        while len(chosen) < max_tokens and not (chosen and chosen[-1] in self._end):
            scores, cache = self._run(ids, before, states if cache is None else None, cache)
            before += ids.shape[1]
            rows.append(scores[-1].float().cpu())
            chosen.append(int(rows[-1].argmax()))
            ids = ids.new_tensor([[chosen[-1]]])
        text = self._processor.tokenizer.decode(chosen, skip_special_tokens=True)
        return Words(text.strip(), tuple(chosen), torch.stack(rows))

    @torch.inference_mode()
    def predict(
        self, tokens: Float[Tensor, "n D"], said: Sequence[int], prompt: str = PROMPT
    ) -> Float[Tensor, "m vocabulary"]:
        """Return the scores that each of the words `said` is chosen by, after the prompt and those before it.

        Raises:
            EncoderError: as `generate` does.
        """
        asked = self._prompt(prompt)
        ids = torch.cat([asked, asked.new_tensor([list(said)])], dim=1)
        scores, _ = self._run(ids, 0, self._states(tokens), None)
        return scores[asked.shape[1] - 1 : -1].float().cpu()

    def compare(self, true: FeatureMap, rendered: FeatureMap, prompt: str = PROMPT, max_tokens: int = 64) -> Agreement:
        """Compare what rendered and true tokens of one view say; their grids may differ in size.

        Raises:
            EncoderError: the two have no cell in common.
        """
        cosines = _cosines(true, rendered)
        said = self.generate(tokens_of(true), prompt, max_tokens)
        judged = self.predict(tokens_of(rendered), said.ids, prompt)
        log_true, log_judged = said.logits.log_softmax(1), judged.log_softmax(1)
        return Agreement(
            cosine=float(cosines.mean()),
            cells=len(cosines),
            same_words=float((judged.argmax(1) == torch.tensor(said.ids)).float().mean()),
            divergence=float((log_true.exp() * (log_true - log_judged)).sum(1).mean()),
            true_text=said.text,
            rendered_text=self.generate(tokens_of(rendered), prompt, max_tokens).text,
        )

    def _states(self, tokens: Float[Tensor, "n D"]) -> Float[Tensor, "1 n D"]:
        width = self._network.config.text_config.hidden_size
        if tokens.ndim != 2 or tokens.shape[1] != width or len(tokens) == 0:
            raise EncoderError(
                f"this language model reads tokens [n, {width}], at least one; got {list(tokens.shape)}: "
                "give what its own encoder saw, or what a memory made with it renders"
            )
        return tokens[None].to(self._network.device, self._network.dtype)

    def _prompt(self, prompt: str) -> Int[Tensor, "1 n"]:
        if not prompt.strip():
            raise EncoderError(f"a prompt says what to describe, such as {PROMPT!r}; got an empty one")
        processor = self._processor
        if processor.chat_template:
            content = [{"type": "image"}, {"type": "text", "text": prompt}]
            chat = [{"role": "user", "content": content}]
            text = str(processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        else:
            text = f"{processor.image_token}{processor.bos_token or ''}{prompt}"
        ids: Tensor = processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return ids.to(self._network.device)

    def _run(
        self, ids: Int[Tensor, "1 n"], before: int, states: Float[Tensor, "1 m D"] | None, cache: Any
    ) -> tuple[Float[Tensor, "n vocabulary"], Any]:
        """Score the next words after `before` words in the cache; words before the image's own do not look at it."""
        looking = everything = None
        if states is not None:
            after = (ids == self._processor.image_token_id).cumsum(dim=1) > 0
            looking = after.to(states.dtype)[:, None, :, None]
            # Without a mask the attention is taken to be causal: the first words would see the first tokens only.
            everything = states.new_zeros(1, 1, ids.shape[1], states.shape[1])
        out = self._network.model.language_model(
            input_ids=ids,
            position_ids=torch.arange(before, before + ids.shape[1], device=ids.device)[None],
            cross_attention_states=states,
            cross_attention_mask=everything,
            full_text_row_masked_out_mask=looking,
            past_key_values=cache,
            use_cache=True,
        )
        return self._network.lm_head(out.last_hidden_state)[0], out.past_key_values


def tokens_of(seen: FeatureMap) -> Float[Tensor, "n D"]:
    """Return the tokens of the valid cells of a map."""
    held = seen.valid if seen.index is None else seen.valid & (seen.index >= 0)
    return seen.dense()[held]


def _cosines(true: FeatureMap, rendered: FeatureMap) -> Float[Tensor, " n"]:
    """Return the cosine at each cell of the true map that both maps fill."""
    h, w = true.valid.shape
    v, u = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij")
    width, height = rendered.image_size
    vectors, valid = rendered.at(u.reshape(-1) * width, v.reshape(-1) * height)
    both = valid & true.valid.reshape(-1)
    if not bool(both.any()):
        raise EncoderError("true and rendered tokens have no cell in common: is the place in view from this pose?")
    return (unit(vectors[both].float()) * unit(true.dense().reshape(h * w, -1)[both].float())).sum(1)
