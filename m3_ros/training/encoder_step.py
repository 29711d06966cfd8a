"""One step of the embedded encoder's training: a batch of crops against the phrases that fit what they show."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from m3_ros.features.sentence import embed_sentences
from m3_ros.features.vision_transformer import normalise, prefers_bf16
from m3_ros.features.vocabulary import BACKGROUND_KINDS, plain_name
from m3_ros.training.encoder_captions import Captions, Thing, build_captions
from m3_ros.training.encoder_crops import CropBatch, clear
from m3_ros.training.encoder_data import read_room
from m3_ros.training.encoder_loss import PhraseTargets, naming_loss, phrase_loss
from m3_ros.training.encoder_settings import EncoderTrainingSettings
from m3_ros.training.encoder_state import TrainingState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Targets:
    """What the loss needs to know of the rooms: captions as tensors, by instance."""

    phrases: PhraseTargets
    captions: Captions
    kinds: tuple[str, ...]
    thing_of_instance: Int[Tensor, " instances"]
    odds_of_instance: Float[Tensor, " instances"]
    background: Bool[Tensor, " k"]
    """Which kinds are floor, wall or ceiling."""

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.odds_of_instance.device

    def to(self, device: torch.device) -> "Targets":
        """Return the same on a device."""
        return replace(
            self,
            phrases=self.phrases.to(device),
            thing_of_instance=self.thing_of_instance.to(device),
            odds_of_instance=self.odds_of_instance.to(device),
            background=self.background.to(device),
        )


def read_targets(directory: Path, seeds: tuple[int, ...], settings: EncoderTrainingSettings) -> Targets:
    """Read what is in the rooms and embed all phrases for it."""
    rooms = [read_room(directory, seed) for seed in seeds]
    things = [Thing(k, w) for room in rooms for k, w in zip(room.kinds, room.words, strict=True)]
    captions = build_captions(things)
    number = {thing: i for i, thing in enumerate(captions.things)}
    frequency: dict[str, int] = {}
    for thing in things:
        frequency[thing.kind] = frequency.get(thing.kind, 0) + 1
    kinds = tuple(frequency)
    odds = [
        (len(rooms) / frequency[thing.kind]) ** 0.35
        * (settings.background_weight if thing.kind in BACKGROUND_KINDS else 1.0)
        for thing in things
    ]
    texts = captions.texts()
    vectors = embed_sentences([*texts, *(plain_name(kind) for kind in kinds)])
    split = len(captions.phrases)
    log.info("%d rooms, %d things, %d phrases", len(rooms), len(captions.things), split)
    phrases = PhraseTargets.of(
        vectors[:split],
        vectors[split : len(texts)],
        vectors[len(texts) :],
        captions.right,
        captions.wrong,
        torch.tensor([kinds.index(thing.kind) for thing in captions.things]),
    )
    background = torch.tensor([kind in BACKGROUND_KINDS for kind in kinds])
    return Targets(phrases, captions, kinds, torch.tensor([number[t] for t in things]), torch.tensor(odds), background)


def take_step(
    state: TrainingState, targets: Targets, batch: CropBatch, pace: float, settings: EncoderTrainingSettings
) -> tuple[float, float]:
    """Take one step; returns the loss and the share of the cells that were named right."""
    for optimiser in state.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = pace * settings.start.learning_rate
    state.network.train()
    batch = batch.to(targets.device)
    instances, weight = _labelled(batch, _odds(state, targets))
    labelled = weight.nonzero()[:, 0]
    half = prefers_bf16() or targets.device.type == "cuda"
    with torch.autocast(targets.device.type, torch.bfloat16, enabled=half):
        seen = state.network.features(normalise(batch.images.permute(0, 3, 1, 2)))
        vectors = state.network.head(seen.flatten(0, 2)[labelled])
    vectors = functional.normalize(vectors.float(), dim=-1)
    thing, weight = targets.thing_of_instance[instances[labelled]], weight[labelled]
    drawn = torch.multinomial(weight, min(settings.cells, len(weight)))
    kind = targets.phrases.kind[thing]
    counts = torch.where(targets.background[kind], settings.background_naming, 1.0)
    counts = counts * clear(batch.coverage.flatten()[labelled])
    naming, named = naming_loss(vectors, kind, counts, targets.phrases, settings.loss)
    loss = phrase_loss(vectors[drawn], thing[drawn], targets.phrases, settings.loss) + settings.loss.naming * naming
    thing, named = thing[drawn], named[drawn]
    state.network.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    for optimiser in state.optimisers:
        optimiser.step()
    state.step += 1
    state.images += len(batch.images)
    state.follow()
    _remember_skill(state, targets, targets.phrases.kind[thing], named.float())
    return float(loss.detach()), float(named.float().mean())


def _odds(state: TrainingState, targets: Targets) -> Float[Tensor, " instances"]:
    """Return each instance's odds: rare kinds more, and kinds that are often named wrong of late more."""
    need = torch.tensor([1.25 - state.skill.get(kind, 0.5) for kind in targets.kinds])
    return targets.odds_of_instance * need.to(targets.device)[targets.phrases.kind[targets.thing_of_instance]]


def _remember_skill(
    state: TrainingState, targets: Targets, kind: Int[Tensor, " n"], named: Float[Tensor, " n"]
) -> None:
    """Let the skill of the kinds just seen follow their outcomes."""
    seen = torch.bincount(kind, minlength=len(targets.kinds))
    right = torch.bincount(kind, named, minlength=len(targets.kinds))
    for index in seen.nonzero().flatten().tolist():
        before = state.skill.get(targets.kinds[index], 0.5)
        state.skill[targets.kinds[index]] = before + 0.03 * (float(right[index] / seen[index]) - before)


def _labelled(batch: CropBatch, odds: Float[Tensor, " instances"]) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the instance of each cell and what it counts.

    An instance of a picture counts by the root of its size and its odds, cells on outlines less or not at all.
    """
    instances = batch.instances.flatten().long()
    picture = torch.arange(len(batch.images), device=instances.device).repeat_interleave(batch.instances[0].numel())
    keys = picture * (len(odds) + 1) + instances + 1
    _, inverse, sizes = torch.unique(keys, return_inverse=True, return_counts=True)
    weight = ((batch.coverage.flatten() - 0.4) / 0.5).clamp(0, 1) * sizes[inverse].float() ** -0.5
    return instances, weight * odds[instances.clamp(min=0)] * (instances >= 0)
