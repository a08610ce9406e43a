"""Operators, one folder each.

Of a sequence operator `reference.py` is the naive recurrence (the oracle of the tests), `chunked.py` plain torch that
is fast on a CPU. An operator on elements has one plain form for both, in its `__init__.py`. `triton.py` is the form for
a GPU, and the folder's `__init__.py` the one entry that picks between them by device.
"""

from kernels.complex_scan import complex_scan, complex_scan_step
from kernels.delta_rule import delta_rule, delta_rule_step
from kernels.dplr import dplr, dplr_step
from kernels.elementwise_attention import elementwise_attention, elementwise_attention_step
from kernels.gated_scan import gated_scan, gated_scan_step
from kernels.linear_attention import linear_attention, linear_attention_step
from kernels.local_linear_attention import local_linear_attention
from kernels.log_linear_attention import log_linear_attention, log_linear_attention_step
from kernels.long_convolution import long_convolution, long_convolution_step
from kernels.masked_attention import masked_attention, masked_attention_with_total
from kernels.mesa import mesa, mesa_step
from kernels.rms_norm import rms_norm
from kernels.rotary import rotary
from kernels.short_convolution import short_convolution, short_convolution_step
from kernels.softmax_attention import softmax_attention, softmax_attention_step
from kernels.swiglu import swiglu

__all__ = [
    "complex_scan",
    "complex_scan_step",
    "delta_rule",
    "delta_rule_step",
    "dplr",
    "dplr_step",
    "elementwise_attention",
    "elementwise_attention_step",
    "gated_scan",
    "gated_scan_step",
    "linear_attention",
    "linear_attention_step",
    "local_linear_attention",
    "log_linear_attention",
    "log_linear_attention_step",
    "long_convolution",
    "long_convolution_step",
    "masked_attention",
    "masked_attention_with_total",
    "mesa",
    "mesa_step",
    "rms_norm",
    "rotary",
    "short_convolution",
    "short_convolution_step",
    "softmax_attention",
    "softmax_attention_step",
    "swiglu",
]
