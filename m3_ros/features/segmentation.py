"""Class-agnostic masks from a promptable model: of everything in a picture, or of what a click or box means."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from m3_ros.errors import EncoderError
from m3_ros.features.compute import Compute
from m3_ros.features.masks import resample, stability, suppress
from m3_ros.features.pixels import check_picture
from m3_ros.features.pretrained import load_pretrained
from m3_ros.features.weights import fingerprint, model_folder

DEFAULT_SOURCE = "facebook/sam2.1-hiera-small"

_POINTS_AT_ONCE = 64


@dataclass(frozen=True)
class SegmentationSettings:
    """Which masks of a picture are kept."""

    points_per_side: Annotated[int, "1..64"] = 16
    """Clicks along each side of the grid that prompts for everything."""
    min_score: Annotated[float, "0..1"] = 0.8
    """Masks whose overlap with the truth the model guesses below this are dropped."""
    min_stability: Annotated[float, "0..1"] = 0.9
    """Masks that change more than this with their threshold are dropped."""
    max_overlap: Annotated[float, "0..1"] = 0.7
    """Masks that overlap more than this (intersection over union) are the same thing."""
    min_share: Annotated[float, "0..1"] = 0.001
    """Smaller masks are specks [share of the picture]."""
    longest: Annotated[int, "16..1024"] = 256
    """Cells along the longer side of a picture; the decoders' own resolution."""


class Segmenter:
    """A promptable model behind two questions: SAM, SAM-HQ, SAM 2, or another that transformers calls alike."""

    def __init__(
        self, network: Any, pictures: Any, compute: Compute, settings: SegmentationSettings | None = None
    ) -> None:
        """Take a network with prompts and its image processor."""
        self.settings = settings or SegmentationSettings()
        self.version = fingerprint(network, (pictures.to_dict(), asdict(self.settings), 1))
        """Fingerprint of weights, preprocessing and settings."""
        self._network: Any = compute.prepare(network)
        self._pictures, self._compute = pictures, compute

    @property
    def device(self) -> str:
        """Torch device that it computes on."""
        return self._compute.device

    @classmethod
    def load(
        cls, source: str, encoder: str, compute: Compute, settings: SegmentationSettings | None = None
    ) -> "Segmenter":
        """Read a model from a folder or the hub's cache; empty: SAM 2.1 small.

        Raises:
            EncoderError: the weights are missing, broken, or of another family.
        """
        folder = model_folder(source or DEFAULT_SOURCE, encoder)
        network = load_pretrained("AutoModelForMaskGeneration", folder, encoder, dtype=torch.float32)
        return cls(network, load_pretrained("AutoImageProcessor", folder, encoder), compute, settings)

    def cells(self, width: int, height: int) -> tuple[int, int]:
        """Return the rows and columns of the masks of a picture."""
        scale = min(1.0, self.settings.longest / max(width, height))
        return max(1, round(height * scale)), max(1, round(width * scale))

    @torch.inference_mode()
    def everything(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> Bool[Tensor, "R h w"]:
        """Return one mask for each thing and part that a grid of clicks finds, best first.

        Raises:
            EncoderError: the image is not 8-bit RGB.
        """
        view = self._look(rgb)
        n = self.settings.points_per_side
        line = (torch.arange(n) + 0.5) / n
        clicks = torch.stack(torch.meshgrid(line * rgb.shape[1], line * rgb.shape[0], indexing="xy"), -1).reshape(-1, 2)
        masks, scores = [torch.zeros(0, *view.cells, dtype=torch.bool)], [torch.zeros(0)]
        for some in torch.split(clicks, _POINTS_AT_ONCE):
            for logits, score in self._answers(view, points=some):
                kept = self._good(logits, score)
                masks.append((logits > 0)[kept])
                scores.append(score[kept])
        found, score = torch.cat(masks), torch.cat(scores)
        return found[suppress(found, score, self.settings.max_overlap)].clone()

    @torch.inference_mode()
    def at(
        self,
        rgb: UInt8[NDArray[np.uint8], "H W 3"],
        box: tuple[float, float, float, float] | None = None,
        point: tuple[float, float] | None = None,
    ) -> Bool[Tensor, "h w"]:
        """Return the mask of what a box (left, top, right, bottom) or a click (u, v) means [px].

        Raises:
            EncoderError: the prompt is not one box or one point in the image.
        """
        check_prompt(rgb, box, point)
        view = self._look(rgb)
        prompt = {"boxes": torch.tensor([box])} if box is not None else {"points": torch.tensor([point])}
        logits, score = next(self._answers(view, **prompt))
        return (logits[int(score.argmax())] > 0).clone()

    def _look(self, rgb: UInt8[NDArray[np.uint8], "H W 3"]) -> "_View":
        check_picture(rgb)
        upright = np.ascontiguousarray(rgb)  # a mirrored view, such as BGR turned around, cannot become a tensor
        inputs = self._pictures(upright, return_tensors="pt", input_data_format="channels_last")
        pixels = inputs["pixel_values"]
        filled = inputs.get("reshaped_input_sizes", [pixels.shape[-2:]])[0]
        with self._compute.autocast():
            embeddings = self._network.get_image_embeddings(pixels.to(self._compute.device))
        if not isinstance(embeddings, tuple):
            embeddings = (embeddings,)
        h, w = (int(side) for side in filled)
        size, cells = rgb.shape[:2], self.cells(rgb.shape[1], rgb.shape[0])
        known = dict(zip(("image_embeddings", "intermediate_embeddings"), embeddings, strict=False))
        return _View(known, (h / size[0], w / size[1]), (h / pixels.shape[-2], w / pixels.shape[-1]), cells)

    def _answers(
        self, view: "_View", points: Float[Tensor, "P 2"] | None = None, boxes: Float[Tensor, "P 4"] | None = None
    ) -> Iterator[tuple[Float[Tensor, "m h w"], Float[Tensor, " m"]]]:
        """Yield the mask logits and scores of each prompt, cell by cell of the picture."""
        device, prompt = self._compute.device, {}
        u_v = torch.tensor([view.scale[1], view.scale[0]])
        if points is not None:  # these models count pixels from their centres
            prompt["input_points"] = (points * u_v - 0.5)[None, :, None].float().to(device)
            prompt["input_labels"] = torch.ones(1, len(points), 1, dtype=torch.int, device=device)
        if boxes is not None:
            prompt["input_boxes"] = (boxes * u_v.repeat(2) - 0.5)[None].float().to(device)
        with self._compute.autocast():
            out = self._network(**view.embeddings, multimask_output=boxes is None, **prompt)
        for logits, scores in zip(out.pred_masks[0], out.iou_scores[0], strict=True):
            yield resample(logits.float(), view.cells, view.used).cpu(), scores.float().cpu()

    def _good(self, logits: Float[Tensor, "m h w"], scores: Float[Tensor, " m"]) -> Bool[Tensor, " m"]:
        large = (logits > 0).float().mean((1, 2)) >= self.settings.min_share
        return (scores >= self.settings.min_score) & (stability(logits) >= self.settings.min_stability) & large


@dataclass(frozen=True, eq=False)
class _View:
    """A picture as the model sees it."""

    embeddings: dict[str, Any]
    """What the network made of it; the second, early one is SAM-HQ's."""
    scale: tuple[float, float]
    """Pixels of the input for one of the picture, down and right."""
    used: tuple[float, float]
    """Share of the input that the picture fills, down and right."""
    cells: tuple[int, int]


def check_prompt(
    rgb: UInt8[NDArray[np.uint8], "H W 3"],
    box: tuple[float, float, float, float] | None,
    point: tuple[float, float] | None,
) -> None:
    """Refuse what is no visual prompt.

    Raises:
        EncoderError: it is not exactly one box or one point inside the image.
    """
    check_picture(rgb)
    height, width = rgb.shape[:2]
    if (box is None) == (point is None):
        raise EncoderError(
            "a visual prompt is either one box (left, top, right, bottom) or one point (u, v), in pixels"
        )
    left, top, right, bottom = box if box is not None else (*point, *point)  # type: ignore[misc]
    proper = 0 <= left <= right <= width and 0 <= top <= bottom <= height
    if not proper or (box is not None and (left == right or top == bottom)):
        raise EncoderError(
            f"a visual prompt must lie in its image of {width}x{height} px, a box with left < right and top < bottom; "
            f"got {box if box is not None else point}"
        )
