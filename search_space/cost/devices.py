"""Devices that the cost model knows, and how fast each can be at best."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from search_space.checks import positive_number
from search_space.errors import InputError, one_of


@dataclass(frozen=True, kw_only=True)
class Device:
    """Peak rates of a device.

    Args:
        flops: dense bf16 matrix FLOP/s, without sparsity.
        bandwidth: bytes/s between memory and chip.
        memory: bytes.
        link: bytes/s that it can send to the other devices of a node; None where there are none.

    Raises:
        InputError: one of them is not a positive number; the key begins with "target.device".
    """

    flops: float
    bandwidth: float
    memory: float
    link: float | None = None

    def __post_init__(self):
        for field in fields(self):
            if getattr(self, field.name) is not None or field.name != "link":
                positive_number(f"target.device.{field.name}", getattr(self, field.name))

    def roofline_ms(self, flops: float, traffic: float) -> float:
        """Least milliseconds for `flops` FLOPs and `traffic` bytes: the longer of the two hides the other."""
        return 1e3 * max(flops / self.flops, traffic / self.bandwidth)


DEVICES = {
    "h100": Device(flops=989e12, bandwidth=3.35e12, memory=80e9, link=450e9),  # SXM5; NVIDIA H100 datasheet
    "h200": Device(flops=989e12, bandwidth=4.8e12, memory=141e9, link=450e9),  # SXM; NVIDIA H200 datasheet
    "a100": Device(flops=312e12, bandwidth=2.039e12, memory=80e9, link=300e9),  # SXM4, 80 GB; NVIDIA A100 datasheet
    "l4": Device(flops=121e12, bandwidth=300e9, memory=24e9, link=32e9),  # NVIDIA L4 datasheet, sparse rate halved
    "rtx4090": Device(flops=165e12, bandwidth=1.008e12, memory=24e9, link=32e9),  # NVIDIA Ada architecture whitepaper
    "mi300x": Device(flops=1307e12, bandwidth=5.3e12, memory=192e9, link=448e9),  # AMD Instinct MI300X datasheet
}
"""Peak rates as the vendors' datasheets state them: dense bf16 with fp32 accumulation. Of
links they state both ways together: half of that is here (NVLink; PCIe 4.0 x16; seven Infinity Fabric links)."""


def find_device(device: Any) -> Device:
    """The device of that name, or the one described by a mapping {flops, bandwidth, memory}.

    Raises:
        InputError: neither; the key begins with "target.device".
    """
    if isinstance(device, Mapping):
        names = {field.name for field in fields(Device)} - {"link"}
        if set(device) - {"link"} != names:
            expected = f"exactly the keys {', '.join(sorted(names))}, and link where there are several"
            raise InputError("target.device", dict(device), expected)
        return Device(**device)
    if not isinstance(device, str) or device not in DEVICES:
        expected = f"{one_of(device, list(DEVICES))}, or {{flops: FLOP/s, bandwidth: bytes/s, memory: bytes}}"
        raise InputError("target.device", device, expected)
    return DEVICES[device]
