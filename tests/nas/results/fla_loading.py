"""Builds every config.json of a folder with flash-linear-attention; prints what it saw as JSON.

A process of its own: it puts something in the place of flash-attn, without which the package builds no attention.

    python -m tests.nas.results.fla_loading FOLDER
"""

import json
import sys
from pathlib import Path


def seen(file):
    """Parameters, kinds of layers, and what the config class made of the list of attention layers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(file)
    model = AutoModelForCausalLM.from_config(config)
    return {
        "class": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "layers": [type(layer.attn).__name__ for layer in model.model.layers],
        "windows": [getattr(layer.attn, "window_size", None) for layer in model.model.layers],
        "attn": config.attn,
    }


if __name__ == "__main__":
    import torch.distributed.tensor  # noqa: F401  # fla wants it imported
    from fla.layers import attn

    attn.flash_attn_func = lambda *arguments, **options: None
    import fla.models  # noqa: F401  # adds its classes to transformers

    print(json.dumps({file.stem: seen(file) for file in sorted(Path(sys.argv[1]).glob("*.json"))}))
