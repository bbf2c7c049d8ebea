"""`llmgate serve`: the endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from llmgate.cli import options

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable


@click.command("serve")
@options.models
@click.option("--host", metavar="ADDRESS", help="Address to listen on (default: 127.0.0.1).")
@click.option("--port", metavar="NUMBER", type=click.IntRange(0, 65535), help="Default: 8484.")
def command(
    config: str | None,
    model: str | None,
    wrapper: str | None,
    host: str | None,
    port: int | None,
) -> None:
    """Serve the OpenAI API."""
    import asyncio
    import logging

    import msgspec

    from llmgate.server.serve import serve

    settings = options.settings_of(config, model, wrapper)
    changes = {"host": host, "port": port}
    server = msgspec.structs.replace(
        settings.server, **{key: value for key, value in changes.items() if value is not None}
    )
    settings = msgspec.structs.replace(settings, server=server)
    logging.basicConfig(format="llmgate: %(levelname)s: %(message)s", level=logging.WARNING)

    def ready(url: str) -> None:
        click.echo(f"llmgate serves {', '.join(settings.models)} at {url}  (Ctrl-C stops it)")
        if warning := options.pilot_warning(settings):
            click.echo(warning)

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings, ready))
    except KeyboardInterrupt:
        # Everything is closed by now: uvicorn raises the signal again when it is done.
        raise SystemExit(130) from None


def _loop_factory() -> Callable[[], AbstractEventLoop] | None:
    """uvloop's loop where there is one: it carries more requests a second."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], AbstractEventLoop] = uvloop.new_event_loop
    return factory
