"""Models with a vocabulary of about 150,000, made on the spot, to measure sampling with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from llmgate import resources

VOCABULARY = 151_936
_NORMAL = 1


def padded_model(path: Path) -> Path:
    """The shipped model with the large vocabulary. It answers as it does with its own.

    The tokens that are added are pairs of its own ones, and of zero weight.
    """
    reader = gguf.GGUFReader(resources.default_model())
    tensors = {tensor.name: _values(tensor) for tensor in reader.tensors}
    embedding = tensors["token_embd.weight"]
    padding = np.zeros((VOCABULARY - len(embedding), embedding.shape[1]), np.float16)
    tensors["token_embd.weight"] = np.concatenate([embedding, padding])
    return _write(path, reader, {}, tensors)


def random_model(path: Path, *, width: int, layers: int, seed: int = 1) -> Path:
    """A model of that size with random weights and the large vocabulary."""
    reader = gguf.GGUFReader(resources.default_model())
    random = np.random.default_rng(seed)
    inner = 4 * width

    def weights(*shape: int) -> np.ndarray:
        scale = shape[-1] ** -0.5
        return random.normal(0.0, scale, shape).astype(np.float16)

    norm = np.ones(width, np.float32)
    tensors: dict[str, np.ndarray] = {
        "token_embd.weight": weights(VOCABULARY, width),
        "output_norm.weight": norm,
    }
    for layer in range(layers):
        parts = {
            "attn_norm": norm,
            "ffn_norm": norm,
            "attn_q": weights(width, width),
            "attn_k": weights(width, width),
            "attn_v": weights(width, width),
            "attn_output": weights(width, width),
            "ffn_gate": weights(inner, width),
            "ffn_up": weights(inner, width),
            "ffn_down": weights(width, inner),
        }
        tensors |= {f"blk.{layer}.{name}.weight": value for name, value in parts.items()}
    sizes = {
        "llama.embedding_length": width,
        "llama.block_count": layers,
        "llama.feed_forward_length": inner,
        "llama.attention.head_count": width // 64,
        "llama.attention.head_count_kv": width // 64,
    }
    return _write(path, reader, sizes, tensors)


def _write(
    path: Path, reader: Any, metadata: dict[str, int], tensors: dict[str, np.ndarray]
) -> Path:
    """Write the model, with the shipped one's other metadata and more tokens."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = reader.fields["tokenizer.ggml.merges"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    pairs = _pairs([token for token, kind in zip(tokens, types, strict=True) if kind == _NORMAL])
    more = pairs[: VOCABULARY - len(tokens)]
    arrays = {
        "tokenizer.ggml.tokens": tokens + [first + second for first, second in more],
        "tokenizer.ggml.merges": merges + [f"{first} {second}" for first, second in more],
        "tokenizer.ggml.token_type": types + [_NORMAL] * len(more),
    }
    metadata = {**metadata, "llama.vocab_size": VOCABULARY, "general.file_type": 1}
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(path, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        if name in arrays:
            writer.add_array(name, arrays[name])
        else:
            value = metadata.get(name, field.contents())
            writer.add_key_value(name, value, field.types[0])
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _pairs(tokens: list[str]) -> list[tuple[str, str]]:
    """Pairs of tokens that make a new one, in no particular order but always the same."""
    known = set(tokens)
    # Other letters stand for bytes, two of which may be no text.
    tokens = [token for token in tokens if token.replace("Ġ", "").isascii()]
    order = np.random.default_rng(0).permutation(len(tokens) ** 2)
    pairs: list[tuple[str, str]] = []
    for number in order:
        pair = tokens[number // len(tokens)], tokens[number % len(tokens)]
        # Words begin with a space, which stands as this letter.
        if (text := pair[0] + pair[1]) not in known and "Ġ" not in pair[1]:
            known.add(text)
            pairs.append(pair)
            if len(pairs) == VOCABULARY:
                break
    return pairs


def _values(tensor: Any) -> np.ndarray:
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    return values if values.ndim == 1 else values.astype(np.float16)
