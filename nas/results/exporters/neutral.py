"""The project's own neutral format: named blocks, and a list of block names."""

from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.layouts.layout import Layout
from search_space.layouts.resize import resize


def export(layout: Layout, target: Target) -> str:
    """The layout at the target's depth as YAML; what it costs there stands above it as a comment."""
    resized = resize(layout, target.layers)
    price = cost(resized, target)
    return (
        f"# {target.layers} layers, width {target.width}: {price.parameters / 1e6:.1f}M parameters, "
        f"{price.cache_bytes / 2**20:.1f} MiB of cache and state a sequence of {target.context} tokens,\n"
        f"# decode step {price.decode_ms:.3g} ms at batch {target.batch} by roofline.\n{resized.to_yaml()}"
    )
