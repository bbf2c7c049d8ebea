"""`llmgate doctor`: which model servers run here, what they can do, and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from llmgate.cli import options

if TYPE_CHECKING:
    from llmgate.discovery import Report
    from llmgate.discovery.examination import Check

_WIDTH = 12


@click.command("doctor")
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
@click.option("--quick", is_flag=True, help="Ask nothing of the models themselves.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--api-key", metavar="KEY", help="For the servers at the given URLs.")
def command(
    urls: tuple[str, ...], config: str | None, quick: bool, as_json: bool, api_key: str | None
) -> None:
    """Examine the model servers at URLs, else the configured ones and those that run here."""
    import asyncio
    import logging

    import msgspec

    # What a backend would warn about stands in the report.
    logging.disable(logging.WARNING)
    reports, configured = asyncio.run(_examined(urls, config, api_key, 0.0 if quick else 60.0))
    if as_json:
        plain = [{**msgspec.to_builtins(each), "usable": each.usable} for each in reports]
        click.echo(msgspec.json.encode({"servers": plain}).decode())
    else:
        for report in reports:
            _print(report)
        if not reports:
            _print_nothing()
        elif not configured and not urls and any(report.usable for report in reports):
            click.echo(
                "`llmgate serve` uses the first of them; `llmgate configure` writes it down."
            )
    if not any(report.usable for report in reports):
        raise SystemExit(1)


async def _examined(
    urls: tuple[str, ...], config: str | None, api_key: str | None, seconds: float
) -> tuple[list[Report], bool]:
    """The reports, and whether anything is configured."""
    from pathlib import Path

    from llmgate import config as configuration
    from llmgate.backends.server import mend
    from llmgate.discovery import Found, examine, identify, search

    settings = configuration.load(Path(config) if config else None)
    reports, known = [], set()
    if urls:
        found = []
        for url in urls:
            mended = mend(url)
            if mended != url.strip().rstrip("/"):
                click.echo(f"{url} is read as {mended}: llmgate adds the routes itself.", err=True)
            found.append(Found(mended, await identify(mended)))
    else:
        if settings.source is not None:
            for model in settings.models.values():
                if model.url is not None:
                    known.add(mend(model.url))
                    reports.append(await examine(model, await identify(mend(model.url))))
        found = [each for each in await search() if each.url not in known]
    for each in found:
        if each.identity is None:
            reports.append(await _unknown(each.url))
            continue
        model = configuration.ModelSettings(
            backend=each.identity.backend, url=each.url, api_key=api_key
        )
        reports.append(await examine(model, each.identity, seconds=seconds))
    return reports, settings.source is not None


async def _unknown(url: str) -> Report:
    """The report on an address where no known server is."""
    from llmgate.discovery import Report
    from llmgate.discovery.identity import reached

    if why := await reached(url):
        advice = "Does the server run, and on that port? Is its host another one than this?"
        return Report(url, "", "nobody", error=f"nothing answers: {why}", advice=(advice,))
    advice = "Is the port right? Is it a web page, or a server that wants a key first?"
    return Report(url, "", "something else", error="it is no model server", advice=(advice,))


def _print(report: Report) -> None:
    click.secho(f"{report.url or report.backend}  {report.kind}", bold=True, nl=False)
    click.echo(f" {report.version}" if report.version else "")
    if report.error:
        _line("!", "not usable", report.error)
    else:
        others = f"  (and {len(report.others)} more)" if report.others else ""
        _line(" ", "model", (report.model or "as loaded there") + others)
        context = report.caps.context
        _line(" ", "context", f"{context} tokens" if context else "it does not tell")
        if not report.caps.chat:
            style = f", calls in the style {report.style}" if report.style else ""
            told = "of the model itself" if report.caps.template else "not told: ChatML"
            _line(" ", "template", told + style)
        for name, check in (
            ("constraint", report.constraint),
            ("tool call", report.tool_call),
            ("stream", report.stream),
        ):
            if check is not None:
                _line(" " if check.passed else "!", name, _said(check))
    for sentence in report.advice:
        click.secho(f"  → {sentence}", fg="yellow")
    click.echo()


def _said(check: Check) -> str:
    return check.said if check.seconds is None else f"{check.said}  ({check.seconds:.1f} s)"


def _line(mark: str, name: str, said: str) -> None:
    colour = "red" if mark == "!" else None
    click.secho(f"{mark} {name:<{_WIDTH}}{options.shortened(said, 300)}", fg=colour)


def _print_nothing() -> None:
    from llmgate.discovery import PORTS

    ports = ", ".join(f"{port} ({kind})" for port, kind in PORTS.items())
    click.echo(
        f"No model server answers on this machine. Looked at {ports}.\n"
        "Start one, or examine another address: llmgate doctor http://HOST:PORT\n"
        "Without a server, `llmgate serve --model FILE.gguf` runs a model in process."
    )
