"""Qwen3-Next of transformers: Gated DeltaNet beside gated attention."""

from typing import Any

from nas.results.exporters.config_json import Stack
from nas.results.exporters.qwen3_5 import Qwen35


class Qwen3Next(Qwen35):
    """Qwen3-Next: as Qwen3.5, with MLPs in the place of its experts."""

    model_type = "qwen3_next"
    architectures = ("Qwen3NextForCausalLM",)

    def fields(self, stack: Stack) -> dict[str, Any]:
        """Without experts."""
        return {**super().fields(stack), "num_experts": 0, "mlp_only_layers": list(range(len(stack.layers)))}
