"""The process that trains one layout while a client waits: `python -m nas.service.scoring`, JSON in and JSON out."""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory


def main(trust: bool) -> None:
    """Reads {layout, config, seeds}; writes what `nas.evaluate` found, or {error, key, value}."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # mixers may print
    asked = json.load(sys.stdin)
    import nas
    from nas.config.loading import load_written

    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "config.yaml"
            path.write_text(asked["config"])
            config = load_written(path, (), trust)
        found = nas.evaluate(nas.Layout.from_dict(asked["layout"]), config, asked["seeds"]).to_dict()
    except nas.InputError as error:
        found = {"error": error.expected, "key": error.key, "value": str(error.value)}
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1]
        found = {"error": f"a layout that can be trained ({last})", "key": "layout", "value": "this layout"}
    print(json.dumps(found, default=dict), file=out, flush=True)


if __name__ == "__main__":
    main(trust="--trust" in sys.argv[1:])
