"""Builds every config.json of a folder with transformers and trains a step of each; prints what it saw as JSON.

A process of its own: with flash-linear-attention at hand, the hybrid classes of transformers need a GPU.

    python -m tests.nas.results.loading FOLDER
"""

import json
import sys
from pathlib import Path


class NoFla:
    """Makes flash-linear-attention look absent."""

    def find_spec(self, name, path=None, target=None):
        """Refuses it."""
        if name.split(".")[0] == "fla":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def seen(file):
    """Parameters, kinds of layers, loss and gradients of the model of a file."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(file)
    model = AutoModelForCausalLM.from_config(config)
    x = torch.randint(3, config.vocab_size, (2, 9))
    loss = model(x, labels=x).loss
    loss.backward()
    with torch.no_grad():
        generated = model.eval().generate(x[:, :4], max_new_tokens=3, do_sample=False)
    return {
        "class": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "layers": [sorted({type(m).__name__ for m in layer.modules()}) for layer in model.model.layers],
        "loss": float(loss.detach()),
        "without_gradient": [name for name, p in model.named_parameters() if p.grad is None],
        "generated": generated.shape[1],
    }


if __name__ == "__main__":
    sys.meta_path.insert(0, NoFla())
    print(json.dumps({file.stem: seen(file) for file in sorted(Path(sys.argv[1]).glob("*.json"))}))
