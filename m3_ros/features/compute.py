"""Where and in which number format an encoder computes."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from m3_ros.features.vision_transformer import prefers_bf16


@dataclass(frozen=True)
class Compute:
    """Device and number format of an encoder."""

    device: str = "cpu"
    """Torch device that the network lives on."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the image network; auto: bfloat16 where the hardware multiplies it, else float32."""

    @property
    def bf16(self) -> bool:
        """Whether the image network multiplies in bfloat16."""
        if self.precision == "auto":
            return self.device != "cpu" or prefers_bf16()
        return self.precision == "bfloat16"

    @property
    def batch_size(self) -> int:
        """Number of images worth encoding at once: a CPU is busy with one."""
        return 1 if self.device == "cpu" else 8

    def prepare(self, network: nn.Module) -> nn.Module:
        """Put a network on the device, ready to encode; the matrices are rounded once where it computes in bfloat16."""
        network = network.eval().requires_grad_(False).to(self.device)
        if self.bf16:
            for module in network.modules():
                if isinstance(module, nn.Linear | nn.Conv2d | nn.MultiheadAttention):
                    module.to(torch.bfloat16)
        return network

    def cast(self, network: nn.Module) -> nn.Module:
        """Put a language model on the device as a whole: such models keep their own sums in float32."""
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        return network.eval().requires_grad_(False).to(self.device, dtype)

    def autocast(self) -> torch.autocast:
        """Return the context in which a prepared network runs: sums stay in float32."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16)
