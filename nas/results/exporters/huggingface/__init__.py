"""A Hugging Face folder: it holds any layout, since its modelling code is built of our own mixers."""

import json
from importlib.resources import files
from itertools import groupby

from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.layouts.layout import Layout
from search_space.layouts.resize import resize_note

CODE = ["configuration_nas.py", "modeling_nas.py"]

README = """# {title}

A hybrid language model of {layers} layers, {parameters:,} parameters, without weights: initial values are drawn when it
is built.

    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained("PATH OF THIS FOLDER", trust_remote_code=True)
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=True)

The folder's code builds the layers of the package `search_space` (`pip install hybrid-nas`), with its kernels on a GPU.
`forward` with labels, `generate` with `use_cache`, `save_pretrained`, `from_pretrained` and transformers' `Trainer`
work. Texts are padded on the right only; prompts of one batch have one length. Add `bos_token_id`, `eos_token_id` and
`pad_token_id` of your tokenizer to config.json.

## Layout

{text}

| layers | mixer | channel mixer |
|---|---|---|
{rows}

{resized}. Width {width}, {heads} attention heads ({kv_heads} of keys and values), hidden width {mlp_width}, vocabulary
{vocabulary:,}. For {context:,} tokens a sequence keeps {cache:.1f} MiB of cache and state.
"""


class HuggingFace:
    """config.json, modelling code with `auto_map`, and a README; `AutoModelForCausalLM` builds it."""

    suffix = ""

    def __call__(self, layout: Layout, target: Target) -> dict[str, str]:
        """The folder's files at the target's depth and sizes."""
        built, price = target.layout(layout), cost(layout, target)
        config = {
            "model_type": "nas_hybrid",
            "architectures": ["NasForCausalLM"],
            "auto_map": {
                "AutoConfig": "configuration_nas.NasConfig",
                "AutoModelForCausalLM": "modeling_nas.NasForCausalLM",
            },
            "vocab_size": target.vocabulary,
            "hidden_size": target.width,
            "num_hidden_layers": target.layers,
            "num_attention_heads": target.heads,
            "num_key_value_heads": target.kv_heads or target.heads,
            "intermediate_size": target.mlp_width,
            "tie_word_embeddings": target.tied_embeddings,
            "layout": built.to_dict(),
        }
        rows, first = [], 0
        for block, run in groupby(built.layers):
            last = first + len(list(run)) - 1
            rows.append(f"| {first}{f' to {last}' * (last > first)} | {block.mixer} | {block.mlp} |")
            first = last + 1
        resized = resize_note(layout, target.layers, target.resize)
        readme = README.format(
            title=f"Hybrid of {', '.join(dict.fromkeys(part.kind for b in built.layers for part in b.parts))}",
            parameters=price.parameters,
            text=f"    {built}",
            rows="\n".join(rows),
            resized=resized[0].upper() + resized[1:],
            context=target.context,
            cache=price.cache_bytes / 2**20,
            layers=target.layers,
            width=target.width,
            heads=target.heads,
            kv_heads=target.kv_heads or target.heads,
            mlp_width=target.mlp_width,
            vocabulary=target.vocabulary,
        )
        code = {name: files(__name__).joinpath(name).read_text(encoding="utf-8") for name in CODE}
        return {"config.json": json.dumps(config, indent=2) + "\n", **code, "README.md": readme}
