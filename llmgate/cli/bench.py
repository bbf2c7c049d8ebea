"""`llmgate bench`: which wrapper makes a model call tools right, and how fast a backend is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmgate.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llmgate.bench.result import Result

_FOLDER = "llmgate-bench"
_CONSTRAINTS = ("off", "schema", "grammar")
_EXAMPLES = """\
\b
    llmgate bench run --model model.gguf -o results
    llmgate bench run --models qwen,llama --constraints off,grammar --native
    llmgate bench run --wrappers chatml --options style=hermes,mistral --suite calls --samples 3

Run the same command again after a kill: what has a result is not asked again.
"""


@click.group("bench")
def command() -> None:
    """Measure which wrapper and options make a model call tools right."""


@command.command("run", epilog=_EXAMPLES)
@click.option("--models", metavar="NAMES", multiple=True, help="Configured models (default: all).")
@click.option("--wrappers", metavar="NAMES", multiple=True, help="Prompt formats (default: all).")
@click.option(
    "--options",
    "varied",
    metavar="KEY=A,B",
    multiple=True,
    help="An option of the wrappers, and its values, as in inner_thoughts=off,inside.",
)
@click.option(
    "--constraints",
    metavar="NAMES",
    default="off,grammar",
    show_default=True,
    help="What answers are held to: off, schema, grammar.",
)
@click.option("--native", is_flag=True, help="Also the servers' own tool calling.")
@click.option(
    "--suite",
    "suites",
    metavar="NAME|FILE",
    multiple=True,
    help="A suite of llmgate, or a file of your own or of BFCL (default: all of llmgate).",
)
@click.option(
    "--limit", metavar="NUMBER", type=click.IntRange(1), help="So many cases of each suite."
)
@click.option(
    "--samples",
    metavar="NUMBER",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How often each case is asked, with another seed each time.",
)
@click.option("--seed", metavar="NUMBER", type=int, default=1, show_default=True)
@click.option(
    "--max-tokens",
    metavar="NUMBER",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Of each answer.",
)
@click.option(
    "--temperature",
    metavar="NUMBER",
    type=click.FloatRange(0),
    help="In place of the models' own.",
)
@click.option(
    "--concurrency",
    metavar="NUMBER",
    type=click.IntRange(1, 1000),
    help="Requests at a time, in place of what the backends have places for.",
)
@click.option(
    "--shared-prefixes",
    is_flag=True,
    help="Let prompts begin alike, so that servers answer from their caches.",
)
@click.option(
    "-o", "--output", metavar="DIR", default=_FOLDER, show_default=True, help="Results, and more."
)
@click.option("--model", metavar="FILE", help="A GGUF file, in place of the configured.")
@click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
def run(
    models: tuple[str, ...],
    wrappers: tuple[str, ...],
    varied: tuple[str, ...],
    constraints: str,
    native: bool,
    suites: tuple[str, ...],
    limit: int | None,
    samples: int,
    seed: int,
    max_tokens: int,
    temperature: float | None,
    concurrency: int | None,
    shared_prefixes: bool,
    output: str,
    model: str | None,
    config: str | None,
) -> None:
    """Ask every case in every cell: model x wrapper x options x constraint.

    Writes results.jsonl (a line for each answer, with the prompt), grammars.jsonl and the report
    into DIR. Exits with 0 when everything has a result, with 1 when a model could not be reached,
    with 130 after Ctrl-C.
    """
    from llmgate.bench import loading
    from llmgate.bench.asking import Plan
    from llmgate.bench.cells import Choice, matrix
    from llmgate.bench.journal import Done, Journal, Run, read
    from llmgate.bench.judge import judge
    from llmgate.bench.runner import Runner
    from llmgate.cli import bench_run

    settings = options.settings_of(config, model, None)
    choice = Choice(
        models=_names(models),
        wrappers=_names(wrappers),
        options=dict(map(_varied, varied)),
        constraints=_constraints(constraints),  # type: ignore[arg-type]  # checked there
        native=native,
    )
    cases = loading.load_all(suites, limit)
    groups, left_out = matrix(settings, choice)
    for line in left_out:
        click.echo(f"Left out: {line}", err=True)
    plan = Plan(seed, samples, max_tokens, temperature, shared_prefixes)
    folder = Path(output).expanduser()
    with Journal.open(folder, Run.of(plan, cases, groups), Done(cases, samples)) as journal:
        runner = Runner(
            groups,
            cases,
            plan,
            journal,
            judge,
            user_folder=settings.user_folder,
            concurrency=concurrency,
        )
        signal = bench_run.run(runner)
    if runner.progress.done:
        _write_report(folder)
        _show(read(folder))
    bench_run.conclude(runner, folder, signal)


@command.command("report")
@click.argument("folder", metavar="DIR")
def report(folder: str) -> None:
    """Write the report, the CSV and the Markdown anew, from results.jsonl alone."""
    from llmgate.bench.journal import read

    for path in _write_report(Path(folder)):
        click.echo(path, err=True)
    _show(read(Path(folder)))


@command.command("compare")
@click.argument("before", metavar="DIR")
@click.argument("after", metavar="DIR")
@click.option("--markdown", is_flag=True, help="As Markdown.")
def compare(before: str, after: str, markdown: bool) -> None:
    """Say what is different in a second run: only what chance does not explain counts."""
    from llmgate.bench import compare as comparing
    from llmgate.bench.journal import read

    found = comparing.compare(read(Path(before)), read(Path(after)))
    click.echo(comparing.told(found, markdown=markdown))


@command.command("apply")
@click.argument("folder", metavar="DIR")
@click.option("--config", metavar="FILE", help="The file to change (default: llmgate.toml).")
@click.option("-y", "--yes", is_flag=True, help="Change it without asking.")
def apply(folder: str, config: str | None, yes: bool) -> None:
    """Write the best wrapper and options of each model into the configuration.

    Shows the difference first and asks.
    """
    from llmgate import config as configuration
    from llmgate.bench import apply as applying
    from llmgate.bench.journal import read

    path = Path(config) if config else configuration.load().source
    path = path or Path(configuration.FILE_NAME)
    text = applying.read(path) if path.exists() else ""
    plan = applying.plan(read(Path(folder)), text, path)
    for line in plan.told:
        click.echo(line)
    if not plan.diff:
        click.echo(f"{path} says so already: nothing to change.")
        return
    click.echo(plan.diff)
    if yes or click.confirm(f"Write this into {path}?"):
        applying.write(path, plan.text)
        click.echo(f"Written: {path}", err=True)


@command.command("speed")
@click.option("--models", metavar="NAMES", multiple=True, help="Configured models (default: all).")
@click.option(
    "--depths",
    metavar="NUMBERS",
    default="128,512,1024,2048,4096",
    show_default=True,
    help="Tokens in the prompt; those that do not fit are left out.",
)
@click.option(
    "--tokens",
    metavar="NUMBER",
    type=click.IntRange(2),
    default=32,
    show_default=True,
    help="To write behind each prompt.",
)
@click.option(
    "--repeat",
    metavar="NUMBER",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Measurements at each depth; the median is told.",
)
@click.option("--seed", metavar="NUMBER", type=int, default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each depth.")
@click.option("--model", metavar="FILE", help="A GGUF file, in place of the configured.")
@click.option("--config", metavar="FILE", help="Configuration (default: llmgate.toml).")
def speed(
    models: tuple[str, ...],
    depths: str,
    tokens: int,
    repeat: int,
    seed: int,
    as_json: bool,
    model: str | None,
    config: str | None,
) -> None:
    """Measure how fast a backend reads prompts and writes, at several depths of the context."""
    import asyncio

    from llmgate.bench import cells
    from llmgate.bench import speed as measuring

    settings = options.settings_of(config, model, None)
    plan = measuring.Plan(_numbers(depths), tokens, repeat, seed)
    for name in cells.chosen_models(settings, _names(models)):
        asyncio.run(_told(measuring.measure(name, settings, plan), name, as_json))


async def _told(measured: Any, name: str, as_json: bool) -> None:
    """Say each measurement as it comes."""
    from llmgate.bench import speed as measuring

    if not as_json:
        click.echo(f"{name}\n{measuring.HEAD}")
    async for speed in measured:
        click.echo(speed.json() if as_json else speed.line())


def _write_report(folder: Path) -> list[Path]:
    """The files of the report, written anew each in one step."""
    from llmgate.bench import report as reporting
    from llmgate.bench.journal import read, write_whole

    written = []
    for name, text in reporting.files(read(folder)).items():
        write_whole(folder / name, text.encode())
        written.append(folder / name)
    return written


def _show(results: Iterable[Result]) -> None:
    import shutil

    from llmgate.bench.scores import score
    from llmgate.bench.tables import terminal

    click.echo(terminal(score(results), width=shutil.get_terminal_size().columns))


def _names(given: Iterable[str]) -> tuple[str, ...]:
    """Names behind an option that may come several times, and with several names each time."""
    return tuple(name for text in given for part in text.split(",") if (name := part.strip()))


def _constraints(text: str) -> tuple[str, ...]:
    from llmgate.errors import UnknownName

    names = tuple(dict.fromkeys(_names([text])))
    for name in names:
        if name not in _CONSTRAINTS:
            raise UnknownName("constraint", name, _CONSTRAINTS)
    if not names:
        raise click.UsageError("--constraints names none.")
    return names


def _varied(text: str) -> tuple[str, tuple[Any, ...]]:
    """An option of wrappers and its values."""
    from llmgate.errors import ConfigError

    key, found, values = text.partition("=")
    if not found or not values:
        raise ConfigError(f"--options {text!r} is not of the form KEY=A,B.")
    return key, tuple(map(_value, values.split(",")))


def _value(text: str) -> Any:
    """A value as TOML has it; a bare word is a string."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _numbers(text: str) -> tuple[int, ...]:
    def parts() -> Iterator[int]:
        for part in _names([text]):
            if not part.isdecimal() or not int(part):
                raise click.UsageError(f"--depths: {part!r} is no number of tokens.")
            yield int(part)

    return tuple(parts())
