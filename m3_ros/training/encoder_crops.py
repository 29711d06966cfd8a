"""Random crops of room pictures with what cameras do to them, in batches, for the training of the embedded encoder."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from m3_ros.features.vision_transformer import PIXEL_MULTIPLE
from m3_ros.training.encoder_data import RoomViews, read_room

_MAX_IDS = 256
_SMALLEST_AREA = 30
_SPARSE = 2  # labels are counted at every other pixel of every other row


@dataclass(frozen=True)
class CropSettings:
    """Size of the crops and strength of the camera effects."""

    width: int = 256
    """Crop width [px]."""
    height: int = 192
    """Crop height [px]."""
    stride: int = 8
    """Pixels per labelled cell."""
    smallest: float = 0.28
    """Smallest share of a picture that a crop covers."""
    largest: float = 1.0
    """Largest share."""
    aimed: float = 0.6
    """Share of the crops that surely show a chosen instance; small ones are chosen more often than their area asks."""
    blur: float = 0.3
    """Share of blurred crops."""
    jpeg: float = 0.3
    """Share of crops that went through JPEG."""
    noise: float = 9.0
    """Largest standard deviation of pixel noise, in 8-bit steps."""

    def smaller(self) -> "CropSettings":
        """Return the same with half the width and height, in whole multiples of what the network takes.

        They cover less of a picture, so that things are nearly as large in them.
        """
        width, height = (round(0.5 * side / PIXEL_MULTIPLE) * PIXEL_MULTIPLE for side in (self.width, self.height))
        return replace(self, width=width, height=height, smallest=0.36 * self.smallest, largest=0.7 * self.largest)


@dataclass(frozen=True)
class CropBatch:
    """Crops and what their cells show."""

    images: UInt8[Tensor, "B H W 3"]
    """Pixels."""
    instances: Int[Tensor, "B h w"]
    """Instance of each cell, numbered through all rooms; -1 for nothing."""
    coverage: Float[Tensor, "B h w"]
    """Share of the cell that its instance covers."""

    def to(self, device: torch.device) -> "CropBatch":
        """Return the same on a device."""
        return CropBatch(self.images.to(device), self.instances.to(device), self.coverage.to(device))


def majority(ids: UInt8[NDArray[np.uint8], "H W"], stride: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the most frequent id of each cell of stride x stride pixels, and the share of the cell that it covers."""
    H, W = ids.shape
    h, w = H // stride, W // stride
    cells = ids[: h * stride, : w * stride].reshape(h, stride, w, stride).swapaxes(1, 2).reshape(h * w, stride * stride)
    present = np.unique(cells)
    counts = np.stack([(cells == i).sum(axis=1) for i in present])
    best = counts.argmax(axis=0)
    share = counts.max(axis=0).astype(np.float32) / (stride * stride)
    return present[best].astype(np.int64).reshape(h, w), share.reshape(h, w)


def draw_window(
    rng: np.random.Generator, ids: UInt8[NDArray[np.uint8], "H W"], settings: CropSettings
) -> tuple[int, int, int, int]:
    """Draw a window (x, y, width, height) [px], often around a pixel of a chosen instance."""
    H, W = ids.shape
    side = np.sqrt(rng.uniform(settings.smallest, settings.largest))
    w = min(W, int(W * side * rng.uniform(0.92, 1.09)))
    h = min(H, int(H * side * rng.uniform(0.92, 1.09)))
    x, y = int(rng.integers(W - w + 1)), int(rng.integers(H - h + 1))
    if rng.random() < settings.aimed:
        area = np.bincount(ids.ravel(), minlength=_MAX_IDS)[1:]
        odds = np.where(area >= _SMALLEST_AREA, np.maximum(area, 1.0) ** -0.35, 0.0)
        if odds.sum() > 0:
            chosen = 1 + int(rng.choice(len(odds), p=odds / odds.sum()))
            v, u = np.divmod(int(rng.choice(np.flatnonzero(ids.ravel() == chosen))), W)
            x = int(np.clip(u - w * rng.uniform(0.15, 0.85), 0, W - w))
            y = int(np.clip(v - h * rng.uniform(0.15, 0.85), 0, H - h))
    return x, y, w, h


def camera_effects(
    rng: np.random.Generator, image: UInt8[NDArray[np.uint8], "H W 3"], settings: CropSettings
) -> UInt8[NDArray[np.uint8], "H W 3"]:
    """Change exposure, contrast, white balance and saturation; then blur, noise and JPEG, each now and then."""
    import cv2

    ramp = np.arange(256, dtype=np.float32) / 255
    gains = rng.uniform(0.72, 1.18) * rng.uniform(0.92, 1.08, 3)
    middle, contrast = image.mean() / 255, rng.uniform(0.75, 1.25)
    curves = (ramp[:, None] ** rng.uniform(0.7, 1.45) * gains - middle) * contrast + middle
    table = np.clip(curves * 255, 0, 255).astype(np.uint8)
    out = cv2.LUT(image, table[:, None, :])
    grey = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    colour = float(rng.uniform(0.65, 1.25))
    out = cv2.addWeighted(out, colour, grey, 1 - colour, 0)
    if rng.random() < settings.blur:
        out = _blur(rng, out)
    if rng.random() < 0.7:
        sigma = float(rng.uniform(0, settings.noise))
        grain = np.empty(out.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 30)))
        cv2.randn(grain, (0.0,) * 3, (sigma,) * 3)
        out = cv2.add(out, grain, dtype=cv2.CV_8U)
    if rng.random() < settings.jpeg:
        _, code = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))])
        out = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return np.asarray(out, np.uint8)


def _blur(rng: np.random.Generator, image: UInt8[NDArray[np.uint8], "H W 3"]) -> UInt8[NDArray[np.uint8], "H W 3"]:
    """Blur as defocus does, or as a sideways motion does."""
    import cv2

    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 1.4))))
    length = int(rng.integers(2, 6))
    return np.asarray(cv2.blur(image, (length, 1) if rng.random() < 0.7 else (1, length)))


def make_crop(
    rng: np.random.Generator,
    rgb: UInt8[NDArray[np.uint8], "H W 3"],
    ids: UInt8[NDArray[np.uint8], "H W"],
    settings: CropSettings,
) -> tuple[UInt8[NDArray[np.uint8], "h w 3"], NDArray[np.int64], NDArray[np.float32]]:
    """Return one crop, the id of each of its cells and how much of the cell it covers."""
    import cv2

    x, y, w, h = draw_window(rng, ids, settings)
    size = (settings.width, settings.height)
    shrinks = w > settings.width
    image = cv2.resize(rgb[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    coarse = (settings.width // _SPARSE, settings.height // _SPARSE)
    labels = cv2.resize(ids[y : y + h, x : x + w], coarse, interpolation=cv2.INTER_NEAREST_EXACT)
    if rng.random() < 0.5:
        image, labels = np.ascontiguousarray(image[:, ::-1]), labels[:, ::-1]
    cells, coverage = majority(labels, settings.stride // _SPARSE)
    return camera_effects(rng, image, settings), cells, coverage


class CropStream(IterableDataset[CropBatch]):
    """Endless batches of crops from the rooms of a folder; the same seed gives the same stream."""

    def __init__(
        self, directory: Path, seeds: tuple[int, ...], batch: int, seed: int, settings: CropSettings | None = None
    ) -> None:
        super().__init__()
        self._directory, self._seeds, self._batch, self._seed = directory, seeds, batch, seed
        self._settings = settings or CropSettings()

    def __iter__(self) -> Iterator[CropBatch]:
        if get_worker_info() is not None:
            torch.set_num_threads(1)
        rng = np.random.default_rng(self._seed)
        rooms = [read_room(self._directory, seed) for seed in self._seeds]
        first = first_instances(rooms)
        views = np.array([(r, v) for r, room in enumerate(rooms) for v in range(len(room.rgb))])
        queue: list[tuple[int, int]] = []
        while True:
            crops: list[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32]]] = []
            while len(crops) < self._batch:
                queue = queue or [(int(r), int(v)) for r, v in rng.permutation(views)]
                r, v = queue.pop()
                image, cells, coverage = make_crop(rng, rooms[r].rgb[v], rooms[r].ids[v], self._settings)
                crops.append((image, np.where(cells > 0, first[r] + cells - 1, -1), coverage))
            images, instances, coverages = (torch.from_numpy(np.stack(part)) for part in zip(*crops, strict=True))
            yield CropBatch(images, instances, coverages)


def crop_loader(crops: CropStream, processes: int) -> DataLoader[CropBatch]:
    """Return what cuts the crops of a stream in other processes, ahead of their use; in this one if there are none."""
    return DataLoader(
        crops,
        batch_size=None,
        num_workers=processes,
        prefetch_factor=4 if processes else None,
        multiprocessing_context="spawn" if processes else None,
    )


def clear(coverage: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return what cells count by how much of them their instance covers: nothing on outlines, all from 0.6 on."""
    return ((coverage - 0.4) / 0.2).clamp(0, 1)


def first_instances(rooms: list[RoomViews]) -> list[int]:
    """Return the number of each room's first instance when all rooms' instances are counted through."""
    return [0, *np.cumsum([len(room.kinds) for room in rooms]).tolist()][:-1]
