"""The loss that puts a patch next to all the phrases that fit it, away from all others, and nearest to its own name."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

_NEVER = -1e4


@dataclass(frozen=True)
class LossSettings:
    """Weights of the loss."""

    temperature: float = 0.05
    """Scale of cosines in the contrast: smaller sharpens."""
    naming: float = 4.0
    """Weight of the contrast between the plain names of the kinds."""
    closeness: float = 0.3
    """Weight of the cosine to the mean of the fitting phrases."""
    anchoring: float = 0.3
    """Weight of keeping words for anything between what fits and what does not."""
    margin: float = 0.1
    """How far from such words, as a cosine."""
    hardest: int = 16
    """Number of wrong phrases that are kept below them."""


@dataclass(frozen=True)
class PhraseTargets:
    """What the loss needs to know of each distinct thing, computed once."""

    phrases: Float[Tensor, "m D"]
    """Embedded phrases."""
    anchors: Float[Tensor, "a D"]
    """Embedded words for anything."""
    names: Float[Tensor, "k D"]
    """Embedded plain name of each kind."""
    right: Float[Tensor, "t m"]
    """Weight of each phrase that fits a thing; rows sum to one."""
    penalty: Float[Tensor, "t m"]
    """0 for phrases that certainly do not fit, a large negative number for the others."""
    middle: Float[Tensor, "t D"]
    """Unit mean of the phrases that fit."""
    kind: Int[Tensor, " t"]
    """Kind of each thing, as a row of the names."""

    @classmethod
    def of(
        cls,
        phrases: Float[Tensor, "m D"],
        anchors: Float[Tensor, "a D"],
        names: Float[Tensor, "k D"],
        right: Float[Tensor, "t m"],
        wrong: Bool[Tensor, "t m"],
        kind: Int[Tensor, " t"],
    ) -> "PhraseTargets":
        """Prepare the targets."""
        penalty = torch.zeros_like(right).masked_fill(~wrong, _NEVER)
        return cls(phrases, anchors, names, right, penalty, functional.normalize(right @ phrases, dim=-1), kind)

    def to(self, device: torch.device) -> "PhraseTargets":
        """Return the same on a device."""
        return PhraseTargets(**{part.name: getattr(self, part.name).to(device) for part in fields(self)})


def phrase_loss(
    vectors: Float[Tensor, "n D"], thing: Int[Tensor, " n"], targets: PhraseTargets, settings: LossSettings
) -> Float[Tensor, ""]:
    """Contrast each unit vector's fitting phrases, one by one, with all wrong ones (InfoNCE with many positives)."""
    scale = 1 / settings.temperature
    logits = (vectors * scale) @ targets.phrases.T
    negatives = logits + targets.penalty[thing]
    row, column = (targets.right > 0)[thing].nonzero(as_tuple=True)
    weight, positive = targets.right[thing[row], column], logits[row, column]
    contrast = weight @ functional.softplus(negatives.logsumexp(dim=1)[row] - positive)
    closeness = (1 - (vectors * targets.middle[thing]).sum(dim=1)).sum()
    anchor, gap = vectors @ targets.anchors.T * scale, settings.margin * scale
    below = functional.softplus(anchor.amax(dim=1)[row] + gap - positive)
    above = functional.softplus(negatives.topk(settings.hardest, dim=1).values + gap - anchor.mean(dim=1, keepdim=True))
    anchoring = weight @ below + above.mean(dim=1).sum()
    total = contrast + settings.closeness * closeness + settings.anchoring * anchoring
    return total / len(vectors)


def naming_loss(
    vectors: Float[Tensor, "n D"],
    kind: Int[Tensor, " n"],
    weight: Float[Tensor, " n"],
    targets: PhraseTargets,
    settings: LossSettings,
) -> tuple[Float[Tensor, ""], Bool[Tensor, " n"]]:
    """Contrast the plain names of the kinds: cheap enough for every labelled vector of a batch.

    Returns:
        The weighted mean loss, and which vectors are nearer to their own kind's name than to any other's.
    """
    names = vectors @ targets.names.T / settings.temperature
    losses = functional.cross_entropy(names, kind, reduction="none")
    return (losses * weight).sum() / weight.sum(), names.detach().argmax(dim=1) == kind
