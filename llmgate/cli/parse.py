"""`llmgate parse`: what a model's text means."""

from __future__ import annotations

import sys

import click

from llmgate.cli import options


@click.command("parse")
@options.wrapper
@click.option("--request", required=True, metavar="REQUEST.JSON", help="What was asked.")
def command(config: str | None, wrapper: str, option: tuple[str, ...], request: str) -> None:
    """Read a model's raw text, print the message in it.

    The text comes on standard input; what had to be mended is listed on standard error.
    """
    import msgspec

    from llmgate.types import Caps
    from llmgate.wire.chat import ChatRequest
    from llmgate.wire.chat_answers import ChatWriter

    asked = options.request_of(request)
    chosen = options.wrapper_of(config, wrapper, option)
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    prompt = chosen.render(asked, Caps())
    if text.lstrip().startswith("{"):  # the text has the brace that the prompt would have begun
        prompt = msgspec.structs.replace(prompt, prefill="")
    completion = chosen.parse_text(text, asked, prompt)
    for note in completion.notes:
        options.note_line(note.code, note.message)
    message = ChatWriter(ChatRequest(asked)).whole(completion)["choices"][0]["message"]
    click.echo(msgspec.json.format(msgspec.json.encode(message), indent=2).decode())
