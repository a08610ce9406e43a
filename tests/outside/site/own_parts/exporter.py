"""A format: JSON."""

import json

from search_space.layouts.resize import resize


class Json:
    """Sizes of the model and its layers."""

    suffix = "json"

    def __call__(self, layout, target):
        sizes = {"width": target.width, "mlp_width": target.mlp_width}
        return json.dumps({**sizes, "layers": [str(block) for block in resize(layout, target.layers).layers]}) + "\n"
