"""The one place that makes `import torchvision` work under a CPU-only torch.

The torchvision wheel on PyPI is built for CUDA: its C++ operators cannot load without it, and its Python side then
fails on the two operators whose fakes it registers at import. Declaring their schemas lets everything but those
operators work, and with it transformers, timm and open_clip, all of which import torchvision when it is installed.
"""

import importlib.util
import sys
from functools import cache
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def _declare_operators() -> object:
    """Declare the operators that torchvision misses; the library object must outlive the process's use of them."""
    import torch

    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.split("(")[0]):
            library.define(schema)
    return library


def ensure_torchvision() -> bool:
    """Make torchvision importable and say whether it is installed. Call before transformers, timm or open_clip."""
    if "torchvision" in sys.modules:
        return True
    if importlib.util.find_spec("torchvision") is None:
        return False
    import torch

    if torch.version.cuda is None:
        _declare_operators()
    return True
