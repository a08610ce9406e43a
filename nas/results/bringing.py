"""Reads a layout that somebody has: our YAML, the short notation, or a file of a format that can be read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.results.exporters import EXPORTERS, find_exporter
from nas.results.exporters.fla import FAMILIES
from nas.results.exporters.megatron import arguments
from search_space.errors import InputError, one_of
from search_space.files import read_text, reason
from search_space.layouts.layout import Layout
from search_space.plain import check_plain, parse_yaml

FILES = (".yaml", ".yml", ".json", ".args")


def read_layout(source: str | Path) -> tuple[Layout, dict[str, Any]]:
    """The layout, and the sizes of its model under their names in `Target`, as far as the source states them.

    Args:
        source: a file (YAML of ours or of Fast-LLM, a config.json, arguments of Megatron-LM), a folder with a
            config.json, or a layout in short notation.

    Raises:
        InputError: it cannot be read, or is no layout; names the file.
    """
    path = Path(source)
    try:
        is_path = path.exists()
    except (OSError, ValueError):  # a text that no file can be called
        is_path = False
    if not is_path and path.suffix not in FILES:
        return Layout.parse(str(source)), {}
    path = path / "config.json" if path.is_dir() else path
    text = read_text(path, "layout")
    try:
        if path.suffix == ".args":
            fields: Any = arguments(text)
        else:
            fields = _json(text) if path.suffix == ".json" else parse_yaml(text, "layout")
        check_plain(fields, "")
        return reader_of(fields, path.suffix).read(fields)
    except InputError as error:
        raise InputError(f"{path}: {error.key}", error.value, error.expected) from error


def reader_of(fields: Any, ending: str) -> Any:
    """The exporter that reads such a file: by its ending, or the keys in it, or its `model_type`.

    Raises:
        InputError: no format has this model type.
    """
    keys = set(fields) if isinstance(fields, Mapping) else set()
    if ending == ".args":
        return find_exporter("megatron")
    if ending != ".json" or "layers" in keys:
        fast_llm = isinstance(fields, Mapping) and "layers" not in keys and "model" in keys
        return find_exporter("fast_llm" if fast_llm else "yaml")
    known = {model_type: "fla" for model_type, _, _ in FAMILIES.values()}
    for name in EXPORTERS.names():
        exporter = find_exporter(name)
        model_type = getattr(exporter, "model_type", None)
        if hasattr(exporter, "read") and model_type:
            known.setdefault(model_type, name)
    model_type = fields.get("model_type") if isinstance(fields, Mapping) else None
    if model_type not in known:
        raise InputError("model_type", model_type, one_of(str(model_type), list(known)))
    return find_exporter(known[model_type])


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("layout", text, f"JSON ({reason(error)})") from error
