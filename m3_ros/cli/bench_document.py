"""What all benchmarks say beside their numbers: the machine, and values that JSON can hold."""

import math
from typing import Any


def machine() -> dict[str, str | int]:
    """Return what draws and computes here."""
    import torch

    if torch.cuda.is_available():
        return {"backend": "gsplat", "device": torch.cuda.get_device_name()}
    from m3_ros.splat import kernel

    return {"backend": f"cpu-{kernel.load().isa}", "threads": torch.get_num_threads()}


def plain(value: Any) -> Any:
    """Turn numbers that are not finite into None, all the way down."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
