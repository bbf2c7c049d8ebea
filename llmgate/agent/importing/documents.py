"""Passages that LlamaIndex kept as JSON, in the folder of an index.

    docstore.json: {"docstore/data": {ID: {"__data__": {"text": ...}}}}

`__data__` may be that object or a text with its JSON. The vectors are left where they are: those
of another model are of no use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from llmgate.errors import ConfigError

NAME = "docstore.json"


def read(folder: Path) -> tuple[str, ...] | None:
    """The texts of the passages in a folder, None if it keeps none as JSON.

    Raises `ConfigError` for a file that can't be read.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"can't read {path}: {error}.") from error
    data = found.get("docstore/data") if isinstance(found, dict) else None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is no docstore of LlamaIndex: it has no 'docstore/data'.")
    texts = (_text(node) for node in data.values())
    return tuple(text for text in texts if text.strip())


def _text(node: Any) -> str:
    inner = node.get("__data__") if isinstance(node, dict) else None
    if isinstance(inner, str):
        try:
            inner = msgspec.json.decode(inner)
        except (msgspec.DecodeError, RecursionError):
            return ""
    text = inner.get("text") if isinstance(inner, dict) else None
    return text if isinstance(text, str) else ""
