"""The project's own neutral format: the model's sizes, named blocks, and a list of block names."""

import yaml

from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.layouts.layout import Layout
from search_space.layouts.resize import resize, resize_note


class NeutralYaml:
    """YAML that `Layout.from_dict` reads back; what the model costs stands above it as a comment."""

    suffix = "yaml"

    def __call__(self, layout: Layout, target: Target) -> str:
        """The layout at the target's depth, and the target's sizes under `model`."""
        model = {
            "layers": target.layers,
            "width": target.width,
            "heads": target.heads,
            "kv_heads": target.kv_heads or target.heads,
            "mlp_width": target.mlp_width,
            "vocabulary": target.vocabulary,
            "tied_embeddings": target.tied_embeddings,
        }
        price = cost(layout, target)
        how = "by roofline" if target.measured is None else f"measured on {target.measured.about['device']}"
        return (
            f"# {price.parameters / 1e6:.1f}M parameters, {price.cache_bytes / 2**20:.1f} MiB of cache and state a "
            f"sequence of {target.context} tokens,\n"
            f"# decode step {price.decode_ms:.3g} ms at batch {target.batch}, {how}.\n"
            f"# {resize_note(layout, target.layers, target.resize)}.\n"
            + yaml.safe_dump({"model": model}, sort_keys=False, default_flow_style=None, width=110)
            + resize(layout, target.layers, target.resize).to_yaml()
        )
