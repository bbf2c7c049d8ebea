"""Forced calls of a model of random weights: how many are valid, in each style of calls.

    python -m benchmarks.forced [--count 1000] [--styles hermes,glm] [--thoughts off,inside]
                                [--server] [--limit 0] [--seed 1]

The model writes noise, so that all sense in a call is the grammar's and the reader's. Every call
is asked for once, half of them by name, and checked by jsonschema-rs. `--server` asks a real
llama-server (the package xllamacpp) in place of the embedded engine. Prints JSON last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema_rs

from benchmarks.models import random_model
from benchmarks.servers import llama_server
from llmgate import Gateway
from llmgate.config import ModelSettings, Settings
from llmgate.errors import LlmgateError
from llmgate.styles import STYLES
from llmgate.types import Message, Request, Sampling, Tool, ToolChoice


def _tool(name: str, **properties: Any) -> Tool:
    required = [key for key in properties if not key.endswith("_")]
    named = {key.rstrip("_"): value for key, value in properties.items()}
    return Tool(
        name,
        f"To {name.replace('_', ' ')}.",
        {
            "type": "object",
            "properties": named,
            "required": required,
            "additionalProperties": False,
        },
    )


# Every kind of value, nested and optional ones too (a name that ends in _ is optional).
TOOLS = (
    _tool("get_weather", city={"type": "string"}, days_={"type": "integer", "minimum": 1}),
    _tool(
        "send_email",
        to={"type": "string", "format": "email"},
        body={"type": "string", "maxLength": 60},
        priority_={"enum": ["low", "high"]},
    ),
    _tool(
        "plan",
        level={"enum": ["low", "high", 3, None]},
        count={"type": "integer", "minimum": -5, "maximum": 120},
        share={"type": "number"},
        done={"type": "boolean"},
        code={"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3,5}$"},
        when_={"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        steps_={
            "type": "array",
            "maxItems": 3,
            "items": {
                "type": "object",
                "properties": {"n": {"type": "integer"}, "tag": {"const": "x"}},
                "required": ["n"],
                "additionalProperties": False,
            },
        },
    ),
    _tool("list_files"),
)
CHECKS = {tool.name: jsonschema_rs.validator_for(tool.parameters) for tool in TOOLS}


def tokens_before_name(style: str, thoughts: str) -> int:
    """How many tokens may come, letter by letter and with blanks, until the name is written."""
    row = STYLES[style]
    return len(row.open + row.begin + row.middle) + (450 if thoughts == "beside" else 110)


async def valid_calls(
    gateway: Gateway, model: str, seeds: range, limit: int
) -> tuple[int, list[str]]:
    """How many forced calls are valid, one a seed, and what was wrong with the others."""
    valid, wrong = 0, []
    for seed in seeds:
        name = TOOLS[seed // 2 % len(TOOLS)].name if seed % 2 else None
        request = Request(
            model=model,
            messages=(Message("user", "Do something."),),
            tools=TOOLS,
            tool_choice=ToolChoice("required", name),
            parallel=False if seed % 3 else None,
            sampling=Sampling(seed=seed, max_tokens=limit + seed % 64),
        )
        try:
            answer = await gateway.complete(request)
        except LlmgateError as error:
            wrong.append(f"seed {seed}: {type(error).__name__}: {error}")
            continue
        calls = answer.message.tool_calls
        problems = [
            f"{call.name}({call.arguments})"
            for call in calls
            if call.name != (name or call.name)
            or call.name not in CHECKS
            or not CHECKS[call.name].is_valid(json.loads(call.arguments))
        ]
        if calls and not problems:
            valid += 1
        else:
            wrong.append(f"seed {seed}: {problems or answer.message.content!r}")
    return valid, wrong


async def measure(arguments: argparse.Namespace, weights: Path, url: str | None) -> dict[str, Any]:
    place = {"backend": "llamacpp", "url": url} if url else {"path": str(weights)}
    results: dict[str, Any] = {}
    for style in arguments.styles.split(","):
        for thoughts in arguments.thoughts.split(","):
            options = {"style": style, "inner_thoughts": thoughts}
            model = ModelSettings(**place, wrapper="chatml", options=options, threads=1)  # type: ignore[arg-type]
            start, cpu = time.perf_counter(), time.process_time()
            async with Gateway.open(Settings(models={"m": model})) as gateway:
                seeds = range(arguments.seed, arguments.seed + arguments.count)
                limit = tokens_before_name(style, thoughts) + arguments.limit
                valid, wrong = await valid_calls(gateway, "m", seeds, limit)
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu
            ms = round(cpu / arguments.count * 1000, 2)
            results[f"{style}/{thoughts}"] = {"valid": valid, "of": arguments.count, "cpu_ms": ms}
            print(
                f"{style:18} {thoughts:7} {valid:5} of {arguments.count}  {wall:6.1f} s", flush=True
            )
            for line in wrong[:3]:
                print(f"    {line[:300]}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="calls for each style")
    parser.add_argument("--styles", default=",".join(STYLES))
    parser.add_argument("--thoughts", default="off,inside")
    parser.add_argument("--server", action="store_true", help="ask a real llama-server")
    parser.add_argument("--limit", type=int, default=0, help="more tokens, and up to 63 more")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        weights = random_model(Path(folder) / "random.gguf", seed=arguments.seed, layers=1)
        url = None
        if arguments.server:
            url, _ = stack.enter_context(llama_server(weights))
        results = asyncio.run(measure(arguments, weights, url))
    valid = sum(result["valid"] for result in results.values())
    asked = sum(result["of"] for result in results.values())
    print(f"{valid} of {asked} valid")
    print(json.dumps({"valid": valid, "of": asked, "styles": results}))


if __name__ == "__main__":
    main()
