"""Models for tests and benchmarks, made on the spot from the shipped one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from llmgate import resources

_BLOCK = re.compile(r"blk\.(\d+)\.")


def random_model(
    path: Path,
    seed: int,
    *,
    scale: float = 0.02,
    metadata: Mapping[str, Any] | None = None,
    layers: int | None = None,
    heads: int | None = None,
) -> Path:
    """Write a model with the shipped one's shape and tokenizer, and random weights, to `path`.

    With a small `scale` every token is about equally likely, so that what comes out is noise
    and all sense in it is the grammar's. `metadata` replaces values of the shipped model.
    With `layers` only so many of its layers are made, with `heads` only so many of its heads: a
    narrower model.
    """
    if layers is not None:
        metadata = {**(metadata or {}), "llama.block_count": layers}
    reader = gguf.GGUFReader(resources.default_model())
    width = narrow = int(reader.fields["llama.embedding_length"].contents())
    if heads is not None:
        narrow = width * heads // int(reader.fields["llama.attention.head_count"].contents())
        metadata = {
            **(metadata or {}),
            "llama.embedding_length": narrow,
            "llama.attention.head_count": heads,
            "llama.attention.head_count_kv": heads,
        }
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(path, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = (metadata or {}).get(name, field.contents())
        if field.types[0] is gguf.GGUFValueType.ARRAY:
            writer.add_array(name, value)
        else:
            writer.add_key_value(name, value, field.types[0])
    random = np.random.default_rng(seed)
    for tensor in reader.tensors:
        block = _BLOCK.match(tensor.name)
        if layers is not None and block and int(block[1]) >= layers:
            continue
        # GGUF counts dimensions from the innermost.
        shape = tuple(narrow if size == width else int(size) for size in reversed(tensor.shape))
        if len(shape) == 1:
            weights = np.ones(shape, dtype=np.float32)
        else:
            weights = random.normal(0.0, scale, shape).astype(np.float16)
        writer.add_tensor(tensor.name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
