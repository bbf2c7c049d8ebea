"""A model with what the shipped one lacks: an added BOS, a control token, a second template."""

from __future__ import annotations

from pathlib import Path

import gguf

from benchmarks.models import random_model
from llmgate import resources
from llmgate.types import Prompt, Sampling

BOS = "<|im_start|>"
MARK = "<tool_call>"
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
TOOL_TEMPLATE = TEMPLATE + "{{ tools | tojson }}"


def marked_model(path: Path) -> Path:
    """Write it to `path`, with random weights.

    Asked to continue `x` without any randomness, it writes the control token in third place.
    """
    fields = gguf.GGUFReader(resources.default_model()).fields
    names = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    metadata = {
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.bos_token_id": names.index(BOS),
        "tokenizer.chat_template": TEMPLATE,
    }
    plain = random_model(path.with_suffix(".plain"), 1, scale=0.3, metadata=metadata)
    *_, third, _, _ = _written(plain)
    names[third], kinds[third] = MARK, int(gguf.TokenType.CONTROL)
    metadata |= {"tokenizer.ggml.tokens": names, "tokenizer.ggml.token_type": kinds}
    marked = random_model(path.with_suffix(".marked"), 1, scale=0.3, metadata=metadata)
    return _with_text(marked, path, "tokenizer.chat_template.tool_use", TOOL_TEMPLATE)


def _written(model: Path) -> list[int]:
    """The tokens of a prompt and its answer, of which the context holds all but the last."""
    from llmgate.backends.engine import Engine
    from llmgate.backends.pipe import Load

    engine = Engine(Load(str(model), 256, 1, 0, extra_buffers=False))
    prompt = Prompt("x", sampling=Sampling(temperature=0.0, max_tokens=6))
    engine.complete(prompt, lambda text: None, lambda: False)
    return engine._tokens


def _with_text(source: Path, path: Path, key: str, text: str) -> Path:
    """Copy a model with one text more in its head."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
    writer.add_string(key, text)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        if field.types[0] is gguf.GGUFValueType.ARRAY:
            writer.add_array(name, field.contents())
        else:
            writer.add_key_value(name, field.contents(), field.types[0])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
