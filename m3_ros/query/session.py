"""Questions to a memory: a Finder pairs it with its encoder and keeps what every question needs."""

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from m3_ros.errors import QueryError
from m3_ros.features.encoder import Encoder
from m3_ros.geometry.camera import Camera
from m3_ros.geometry.pose import Transform
from m3_ros.memory import Explanation, Head, SpatialMemory, explain, text_view
from m3_ros.memory.evidence_views import ViewIndex
from m3_ros.query.answer import Answer, Candidate, Status
from m3_ros.query.calibration import probability
from m3_ros.query.grounding import Proposal, propose
from m3_ros.query.likeness import likeness
from m3_ros.query.phrase import subject
from m3_ros.query.relevancy import Relevancy, relevancy
from m3_ros.query.rivals import rival_factor
from m3_ros.query.settings import QuerySettings
from m3_ros.query.words import Words, encoder_with_words


class Finder:
    """Answers questions about one memory.

    Finder.open("runs/demo/memory").find("the red chair").candidates[0].centre
    """

    def __init__(
        self, memory: SpatialMemory, encoder: Encoder, settings: QuerySettings | None = None, head: Head = "attention"
    ) -> None:
        """Pair a memory with the encoder that made it.

        Args:
            memory: what is asked.
            encoder: turns words into its vectors.
            settings: None gives the defaults for the encoder.
            head: what each Gaussian is read out by; the probability was fitted on the attention.

        Raises:
            MemoryFormatError: the memory was made with another encoder, or another version of it, or lacks the head.
        """
        self.memory = memory
        self.encoder = encoder
        self.settings = settings or QuerySettings.of(encoder)
        self.head = head
        self._entry = memory.queries_of(encoder.name, encoder.version)
        if head == "linear":
            self._entry.linear_head()  # where it is missing, say so before the first question
        self._seen = memory.seen
        self._words = Words(encoder, self.settings.relevancy)

    @classmethod
    def open(
        cls, path: Path | str, encoder: str = "", settings: QuerySettings | None = None, head: Head = "attention"
    ) -> "Finder":
        """Load a memory and an encoder of it by its name; empty: the first that has words, or else the first.

        Raises:
            MemoryFormatError: the memory cannot be read or does not belong to the encoder.
            EncoderError: the encoder cannot be loaded.
        """
        from m3_ros.features import load_encoder

        memory = SpatialMemory.load(path)
        return cls(memory, load_encoder(encoder) if encoder else encoder_with_words(memory), settings, head)

    def find(
        self, text: str, negatives: Sequence[str] = (), top_k: int = 1, min_probability: float | None = None
    ) -> Answer:
        """Say where what the text names is.

        Args:
            text: a question or a name, in words.
            negatives: phrases that it is not, beside the encoder's own background phrases.
            top_k: most candidates wanted.
            min_probability: candidates below it are not answers; None: as the settings say.

        Raises:
            QueryError: the text is empty, top_k is below one, or the encoder has no words.
        """
        start = time.monotonic()
        phrase = subject(text)
        self._check(top_k)
        if self._blind:
            return self._answer(text, phrase, (), top_k, min_probability, start)
        calibration = self.settings.calibration
        pairs = [(left * probability(p.evidence, calibration), p) for p, left in self.contest(phrase, negatives)]
        ranked = sorted(pairs, key=lambda pair: pair[0], reverse=True)
        return self._answer(text, phrase, ranked, top_k, min_probability, start)

    def find_like(
        self, vector: Float[Tensor, " D"], what: str = "this", top_k: int = 1, min_probability: float | None = None
    ) -> Answer:
        """Say where what a vector stands for is: that of a visual prompt, of words, or of a thing seen before.

        The probability was fitted on questions in words and is a guide only.

        Args:
            vector: in the space of the encoder, such as `m3_ros.features.visual_prompt.encode_prompt` gives.
            what: what to call it in the answer.
            top_k: most candidates wanted.
            min_probability: candidates below it are not answers; None: as the settings say.

        Raises:
            QueryError: the vector is zero or not the encoder's, or top_k is below one.
        """
        start = time.monotonic()
        self._check(top_k)
        if self._blind:
            return self._answer(what, what, (), top_k, min_probability, start)
        proposals = propose(self.memory, self.likeness(vector), self._entry.consistency, self.settings.grounding)
        pairs = [(probability(p.evidence, self.settings.calibration), p) for p in proposals]
        ranked = sorted(pairs, key=lambda pair: pair[0], reverse=True)
        return self._answer(what, what, ranked, top_k, min_probability, start)

    def relevancy(self, phrase: str, negatives: Sequence[str] = ()) -> Relevancy:
        """Return how each Gaussian fits a phrase, weighed against the background phrases and the negatives given."""
        with torch.inference_mode():
            words, positive = self._words.weighed(phrase, negatives)
            scores = self._score(words)
            columns = torch.cat([scores[:, :1], self._background_scores, scores[:, 1:]], dim=1)
            denied = (scores[:, 1:] >= scores[:, :1]).any(dim=1)  # more like what the user said it is not
            return relevancy(columns, positive, self._seen & ~denied, self.settings.relevancy)

    def relevancy_in_view(
        self, phrase: str, camera: Camera, T_map_camera: Transform, rows: int, columns: int
    ) -> Float[Tensor, "h w"]:
        """Return how each cell of a view fits a phrase in the paper's order: queries are blended, then read out.

        Answers go by `relevancy`, where each Gaussian is read out by itself; this is what the paper's pictures show.
        """
        with torch.inference_mode():
            words, positive = self._words.weighed(phrase, ())
            texts = torch.cat([words, self._words.background])
            view = (self.memory.gaussians, self._entry, camera, T_map_camera, rows, columns)
            scores, valid = text_view(*view, texts)
            fit = relevancy(scores.flatten(0, 1), positive, valid.flatten(), self.settings.relevancy)
            return fit.probability.reshape(rows, columns)

    def likeness(self, vector: Float[Tensor, " D"]) -> Relevancy:
        """Return how each Gaussian fits a vector, weighed against what else the place holds.

        Raises:
            QueryError: the vector is zero or not the encoder's.
        """
        return likeness(self.memory, self._entry, vector, self.settings.relevancy, self.head)

    def contest(self, phrase: str, negatives: Sequence[str] = ()) -> list[tuple[Proposal, float]]:
        """Return every object that the phrase may mean, and the share of its probability that rival names leave it.

        The evidence of the objects is what a calibration is fitted on.
        """
        found = self.relevancy(phrase, negatives)
        proposals = propose(self.memory, found, self._entry.consistency, self.settings.grounding)
        same = self._words.names_of(phrase)
        return [(p, self._left_by_rivals(p, same)) for p in proposals]

    def warm_up(self) -> None:
        """Do now what the first question would have to wait for."""
        _ = self._background_scores, self._name_scores, self._views

    @cached_property
    def _background_scores(self) -> Float[Tensor, "N T"]:
        with torch.inference_mode():
            return self._score(self._words.background)

    @cached_property
    def _name_scores(self) -> Float[Tensor, "N K"]:
        with torch.inference_mode():
            return self._score(self._words.names)

    @cached_property
    def _views(self) -> ViewIndex:
        return ViewIndex(self.memory)

    @property
    def _blind(self) -> bool:
        return int(self._seen.sum()) < self.settings.min_seen

    def _score(self, texts: Float[Tensor, "T D"]) -> Float[Tensor, "N T"]:
        return self._entry.text_scores(texts, self.head)

    def _check(self, top_k: int) -> None:
        if top_k < 1:
            raise QueryError(f"top_k is the most candidates wanted, at least 1; got {top_k}")

    def _answer(
        self,
        text: str,
        phrase: str,
        ranked: Sequence[tuple[float, Proposal]],
        top_k: int,
        min_probability: float | None,
        start: float,
    ) -> Answer:
        if self._blind:
            nothing = "the memory has seen next to nothing"
            return Answer(text, Status.UNOBSERVED, (), nothing, time.monotonic() - start, self.head)
        threshold = self.settings.min_probability if min_probability is None else min_probability
        found = [pair for pair in ranked if pair[0] >= threshold][:top_k]
        candidates = tuple(self._candidate(i, chance, p) for i, (chance, p) in enumerate(found or ranked[:1]))
        status = Status.FOUND if found else Status.NOT_FOUND
        message = _message(phrase, status, candidates)
        return Answer(text, status, candidates, message, time.monotonic() - start, self.head)

    def _left_by_rivals(self, proposal: Proposal, same: Bool[Tensor, " K"]) -> float:
        factor = rival_factor(self._name_scores, same, proposal.gaussians, self.settings.relevancy.temperature)
        return float(factor**self.settings.relevancy.rival_weight)

    def _candidate(self, number: int, chance: float, proposal: Proposal) -> Candidate:
        return Candidate(
            object_id=number,
            probability=chance,
            centre=proposal.centre,
            covariance=proposal.covariance,
            box=proposal.box,
            gaussians=proposal.gaussians,
            views=self._views.best(proposal.gaussians, self.settings.max_views),
            explanation=self._explanation(proposal.gaussians),
        )

    def _explanation(self, gaussians: Bool[Tensor, " N"]) -> tuple[Explanation, ...]:
        captions = self._entry.attention.bank.captions
        if not captions:
            return ()
        with torch.inference_mode():
            return tuple(explain(self._entry.attention, self._entry.queries[gaussians].float(), captions))


def find(
    memory: SpatialMemory,
    text: str,
    negatives: Sequence[str] = (),
    top_k: int = 1,
    encoder: Encoder | None = None,
    settings: QuerySettings | None = None,
) -> Answer:
    """Ask a memory one question; keep a `Finder` for more. None: the memory's first encoder that has words."""
    return Finder(memory, encoder or encoder_with_words(memory), settings).find(text, negatives, top_k)


def _message(phrase: str, status: Status, candidates: Sequence[Candidate]) -> str:
    if status == Status.NOT_FOUND:
        best = f"; the nearest miss has probability {candidates[0].probability:.2f}" if candidates else ""
        return f"nothing here looks like {phrase!r}{best}"
    x, y, z = candidates[0].centre
    more = f", {len(candidates) - 1} more" if len(candidates) > 1 else ""
    return f"{phrase!r} is at ({x:.2f}, {y:.2f}, {z:.2f}) m with probability {candidates[0].probability:.2f}{more}"
