"""How long, on what and with what the embedded encoder is trained."""

from dataclasses import dataclass, field

from m3_ros.features.vision_transformer import VisionSettings
from m3_ros.training.device import DeviceName
from m3_ros.training.encoder_crops import CropSettings
from m3_ros.training.encoder_data import FIRST_TRAINING_SEED, RoomSettings
from m3_ros.training.encoder_loss import LossSettings
from m3_ros.training.encoder_state import Start

LEFT_OUT = ("armchair/tub",)
"""Shapes kept out of training: they measure what a shape never seen is worth."""


@dataclass(frozen=True)
class EncoderTrainingSettings:
    """How long and on what the embedded encoder is trained."""

    crops: int = 130_000
    """Crops to learn from: what a training is long by, whatever else the machine does meanwhile."""
    cooldown: int = 81_000
    """The last crops, over which the steps shrink to nothing."""
    small_share: float = 0.625
    """Share of the crops, the first ones, that are small, two for one: twice as many different things for half the
    pixels teach more in less time."""
    rooms: int = 200
    """Number of generated rooms."""
    first_seed: int = FIRST_TRAINING_SEED
    """Seed of the first room; the others follow."""
    test_seeds: tuple[int, ...] = tuple(range(1000, 1010))
    """Rooms for the figures, never trained on."""
    test_views: int = 40
    """Pictures of each test room."""
    room: RoomSettings = field(default_factory=lambda: RoomSettings(left_out=LEFT_OUT))
    """What the rooms look like."""
    start: Start = field(default_factory=Start)
    """First weights and largest steps."""
    crop: CropSettings = field(default_factory=CropSettings)
    """What the crops look like."""
    network: VisionSettings = field(default_factory=VisionSettings)
    """Sizes of the network."""
    loss: LossSettings = field(default_factory=LossSettings)
    """Weights of the loss."""
    batch: int = 12
    """Crops per step, twice as many small ones: few, since steps are what a short training lacks."""
    cells: int = 1024
    """Patches per step, drawn so that small and rare things get their share."""
    background_weight: float = 0.3
    """Odds of floor, wall and ceiling against things, when patches are drawn."""
    background_naming: float = 0.2
    """What a patch of floor, wall or ceiling counts when all are named. Far less than a thing's would teach the network
    to name a wardrobe wherever a wall shows little."""
    device: DeviceName = "auto"
    """Where the network learns; auto: on the GPU if torch finds one."""
    threads: int = 2
    """CPU threads."""
    loader_processes: int = 1
    """Processes that cut crops; 0: in this one."""
    save_every: int = 300
    """Steps between saved states; an interrupted training goes on from there."""
