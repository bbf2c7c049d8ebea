"""What the gateway benchmark asks, and the mock server that answers it: `mock_upstream.c`.

The mock speaks as llama-server does, and as OpenAI does for those that pass requests on.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHUNKS = 50
WORDS = [f"tok{number} " for number in range(CHUNKS)]
CALL = '{"function": "get_weather", "params": {"city": "Paris", "unit": "celsius"}}'
ARGUMENTS = '{"city": "Paris", "unit": "celsius"}'
PACED, STREAMED = "Slowly, please.", "In many words, please."
INTERVAL = 10_000
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather at a place.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "The name of the city."},
                    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                },
                "required": ["city", "unit"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "send_mail",
            "description": "Sends a mail.",
            "parameters": {
                "type": "object",
                "properties": {
                    "to": {"type": "array", "items": {"type": "string"}},
                    "subject": {"type": "string"},
                    "body": {"type": "string"},
                },
                "required": ["to", "subject", "body"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Searches the archive.",
            "parameters": {
                "type": "object",
                "properties": {
                    "query": {"type": "string"},
                    "page": {"type": "integer", "minimum": 1, "maximum": 99},
                },
                "required": ["query"],
            },
        },
    },
]


def compiled(name: str, folder: Path) -> Path:
    """The program in `name`.c. Raises `RuntimeError` where it can't be compiled."""
    program = folder / name
    command = ["cc", "-O2", "-o", str(program), str(HERE / f"{name}.c")]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(f"{name}.c can't be compiled: {made.stderr}")
    return program


def question(path: str, port: int, wish: str = "") -> bytes:
    """The bytes of a request: a call is forced, unless a text is wished for, which is streamed."""
    asked = f"What is the weather like in Paris today? {wish}".strip()
    body = {
        "model": "local",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": asked},
        ],
        "tools": TOOLS,
        "tool_choice": "auto" if wish else "required",
        "temperature": 0,
        "stream": bool(wish),
    }
    raw = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer none\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


@contextmanager
def upstream(folder: Path) -> Iterator[int]:
    """The port of the mock server; it ends with the context."""
    answers = folder / "answers"
    answers.write_bytes(b"".join(_entries()))
    with subprocess.Popen(
        [compiled("mock_upstream", folder), answers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _entries() -> Iterator[bytes]:
    yield _entry("GET", "/health", [_json({"status": "ok"})])
    yield _entry("GET", "/props", [_json({"default_generation_settings": {"n_ctx": 8192}})])
    yield _entry("GET", "/v1/models", [_json({"object": "list", "data": [{"id": "mock"}]})])
    yield _entry("POST", "/tokenize", [_json({"tokens": [1, 2, 3]})])
    # What llmgate asks to see whether grammars hold, by a part of that grammar.
    probe = _events([*_llama_events(["llmgate-probe"])])
    yield _entry("POST", "/completion", probe, needle="rest{1,1}")
    pieces = [CALL[start : start + 4] for start in range(0, len(CALL), 4)]
    for needle, interval, words in (
        ("Slowly", INTERVAL, WORDS),
        ("many", 0, WORDS),
        ("-", 0, pieces),
    ):
        events = _events([*_llama_events(words)])
        yield _entry("POST", "/completion", events, needle=needle, interval=interval)
    for needle, interval in (("Slowly", INTERVAL), ("many", 0)):
        events = _events([*_openai_events(WORDS)], b"data: [DONE]\n\n")
        yield _entry("POST", "/v1/chat/completions", events, needle=needle, interval=interval)
    yield _entry("POST", "/v1/chat/completions", [_json(_openai_call())])


def _entry(
    method: str, path: str, pieces: Sequence[bytes], *, needle: str = "-", interval: int = 0
) -> bytes:
    head = f"{method} {path} {needle} {interval} {len(pieces)}\n".encode()
    return head + b"".join(b"%d\n%s" % (len(piece), piece) for piece in pieces)


def _json(body: Any) -> bytes:
    raw = json.dumps(body).encode()
    head = "HTTP/1.1 200 OK\r\nServer: mock\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


def _events(events: Sequence[Any], last: bytes = b"") -> list[bytes]:
    """Each event as a chunk of its own, the first with the head in front of it."""
    head = b"HTTP/1.1 200 OK\r\nServer: mock\r\nContent-Type: text/event-stream\r\n"
    raw = [b"data: " + json.dumps(event, separators=(",", ":")).encode() for event in events]
    chunks = [b"%x\r\n%s\n\n\r\n" % (len(data) + 2, data) for data in raw]
    if last:
        chunks[-1] += b"%x\r\n%s\r\n" % (len(last), last)
    chunks[0] = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks[0]
    chunks[-1] += b"0\r\n\r\n"
    return chunks


def _llama_events(pieces: Sequence[str]) -> Iterator[dict[str, Any]]:
    for number, piece in enumerate(pieces, 1):
        yield {
            "index": 0,
            "content": piece,
            "tokens": [1000 + number],
            "stop": False,
            "id_slot": -1,
            "tokens_predicted": number,
            "tokens_evaluated": 180,
        }
    yield {
        "index": 0,
        "content": "",
        "tokens": [],
        "id_slot": 0,
        "stop": True,
        "model": "mock",
        "tokens_predicted": len(pieces) + 1,
        "tokens_evaluated": 180,
        "stop_type": "eos",
        "stopping_word": "",
        "tokens_cached": 200,
        "timings": {"cache_n": 170, "prompt_n": 10, "predicted_n": len(pieces) + 1},
    }


def _openai_events(pieces: Sequence[str]) -> Iterator[dict[str, Any]]:
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": piece}, None) for piece in pieces]
    for delta, finish in [*deltas, ({}, "stop")]:
        yield {
            "id": "chatcmpl-0123456789",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "mock",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }


def _openai_call() -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": ARGUMENTS}
    call = {"id": "call_0123456789", "type": "function", "function": function}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {
        "id": "chatcmpl-0123456789",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "mock",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 180, "completion_tokens": 20, "total_tokens": 200},
    }
