"""Sequence operators, one folder each.

`reference.py` is the naive recurrence (the oracle of the tests), `chunked.py` plain torch that is fast on a CPU, and
the folder's `__init__.py` the one entry that picks between them by device.
"""

from kernels.delta_rule import delta_rule, delta_rule_step
from kernels.gated_scan import gated_scan, gated_scan_step
from kernels.linear_attention import linear_attention, linear_attention_step
from kernels.softmax_attention import softmax_attention, softmax_attention_step

__all__ = [
    "delta_rule",
    "delta_rule_step",
    "gated_scan",
    "gated_scan_step",
    "linear_attention",
    "linear_attention_step",
    "softmax_attention",
    "softmax_attention_step",
]
