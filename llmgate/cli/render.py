"""`llmgate render`: the prompt that a request becomes."""

from __future__ import annotations

import click

from llmgate.cli import options


@click.command("render")
@options.wrapper
@click.option("--json", "as_json", is_flag=True, help='Print {"prompt", "stop", "grammar"}.')
@click.argument("request", metavar="REQUEST.JSON")
def command(
    config: str | None, wrapper: str, option: tuple[str, ...], as_json: bool, request: str
) -> None:
    """Print the prompt that a request becomes.

    REQUEST.JSON is a body of POST /v1/chat/completions; - reads standard input.
    """
    import msgspec

    from llmgate.types import Caps

    prompt = options.wrapper_of(config, wrapper, option).render(
        options.request_of(request), Caps(grammar=True)
    )
    if as_json:
        shown = {"prompt": prompt.text, "stop": prompt.stop, "grammar": prompt.grammar}
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    else:
        click.echo(prompt.text)
