"""`llmgate batch`: a file of requests, answered in parallel, resumed after any interruption."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmgate.cli import options

if TYPE_CHECKING:
    from llmgate.batch import Journal, Requests, Runner

_EXAMPLES = """\
Each line of the file is the body of a chat completion, with `metadata` or `custom_id` beside it
if wanted, or a line of OpenAI's Batch API. Results come in the order in which they finish.

\b
    llmgate batch requests.jsonl --model model.gguf
    llmgate batch requests.jsonl -o out.jsonl --url http://127.0.0.1:8484/v1
    llmgate batch requests.jsonl --url https://api.example.com/v1 --max-requests-per-minute 500

Run the same command again after a kill: what has a result is not asked for again.
"""

# Bytes from which on looking through a file takes a person's time.
_LARGE = 1 << 28
_RESUME = "llmgate: interrupted; run the same command again to go on."


@click.command("batch", epilog=_EXAMPLES)
@click.argument("requests", metavar="REQUESTS.JSONL")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Results, added as they come (default: REQUESTS_results.jsonl).",
)
@options.models
@click.option("--url", metavar="URL", help="Ask this server with the OpenAI API, not in process.")
@click.option(
    "--api-key",
    metavar="KEY",
    envvar="LLMGATE_BATCH_API_KEY",
    show_envvar=True,
    help="Sent to --url as a bearer token.",
)
@click.option(
    "--max-requests-per-minute",
    metavar="NUMBER",
    type=click.IntRange(1),
    help="No minute has more; without it there is no limit.",
)
@click.option(
    "--max-tokens-per-minute",
    metavar="NUMBER",
    type=click.IntRange(1),
    help="Prompts and answers; estimated before, corrected after each answer.",
)
@click.option(
    "--max-attempts",
    metavar="NUMBER",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="For a request that fails in a way that may pass.",
)
@click.option(
    "--concurrency",
    metavar="NUMBER",
    type=click.IntRange(1, 10_000),
    default=16,
    show_default=True,
    help="Requests that run at a time.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=600.0,
    show_default=True,
    help="For each attempt.",
)
@click.option("--retry-failed", is_flag=True, help="Ask again what has a failed result.")
def command(
    requests: str,
    output: str | None,
    config: str | None,
    model: str | None,
    wrapper: str | None,
    url: str | None,
    api_key: str | None,
    max_requests_per_minute: int | None,
    max_tokens_per_minute: int | None,
    max_attempts: int,
    concurrency: int,
    timeout: float,
    retry_failed: bool,
) -> None:
    """Answer a file of requests, within limits, and resume after any kill.

    With --url, --model is the name of the model for lines that name none.

    Exits with 0 when every request is answered, with 1 when some failed, with 130 after Ctrl-C.
    """
    import asyncio
    import logging

    from llmgate.batch import Endpoint, Journal, Limits, Local, Plan, Requests, Runner
    from llmgate.cli.progress import AboveBar
    from llmgate.gateway import Gateway

    logging.basicConfig(
        format="llmgate: %(levelname)s: %(message)s",
        level=logging.WARNING,
        handlers=[AboveBar()],
    )
    _check_use(url)
    source_path, result_path = _paths(requests, output)
    opened: Gateway | Endpoint
    target: Local | Endpoint
    if url is None:
        settings = options.settings_of(config, model, wrapper)
        if warning := options.pilot_warning(settings):
            click.secho(warning, dim=True, err=True)
        opened = Gateway.open(settings)
        target = Local(opened, timeout=timeout)
    else:
        opened = target = Endpoint(
            url, api_key=api_key, model=model, timeout=timeout, concurrency=concurrency
        )
    plan = Plan(max_attempts=max_attempts, concurrency=concurrency)

    async def answered(source: Requests, journal: Journal) -> tuple[Runner, int | None]:
        async with opened:
            limits = Limits(max_requests_per_minute, max_tokens_per_minute)
            runner = Runner(source, target, journal, limits, plan)
            return runner, await _watched(runner)

    try:
        with Journal.open(result_path) as journal:
            if source_path.stat().st_size > _LARGE and sys.stderr.isatty():
                click.echo(f"Looking through {source_path} first ...", err=True)
            source = Requests.survey(source_path, journal.done)
            if retry_failed:
                journal.take_out_failed()
            before = len(journal.done)
            runner, signal = asyncio.run(answered(source, journal))
            _conclude(runner, before, signal)
    except KeyboardInterrupt:  # where there are no signal handlers, or before they are set
        click.echo(_RESUME, err=True)
        raise SystemExit(130) from None


def _check_use(url: str | None) -> None:
    """Raise for options that say nothing together."""
    context = click.get_current_context()
    given = click.core.ParameterSource.COMMANDLINE
    for name in ("config", "wrapper") if url is not None else ("api_key",):
        if context.get_parameter_source(name) is given:
            option = f"--{name.replace('_', '-')}"
            where = "models in process, not for --url" if url is not None else "--url"
            raise click.UsageError(f"{option} is for {where}.")


def _paths(requests: str, output: str | None) -> tuple[Path, Path]:
    from llmgate.errors import ConfigError

    source = Path(requests).expanduser()
    if not source.is_file():
        raise ConfigError(
            f"can't read {requests}: it is no file.",
            hint="Requests are read twice, so that a run can be resumed: a pipe will not do.",
        )
    result = (
        Path(output).expanduser() if output else source.with_name(f"{source.stem}_results.jsonl")
    )
    if result.exists() and not result.is_file():
        raise ConfigError(
            f"can't write to {result}: it is no file.",
            hint="Results are read again when a run is resumed.",
        )
    if result.exists() and result.samefile(source):
        raise ConfigError("the results can't be written into the file of the requests.")
    return source, result


async def _watched(runner: Runner) -> int | None:
    """Run with a progress bar and under signals; the number of the signal that ended it."""
    from llmgate.cli.progress import Bar, counted, watched

    def under_way() -> str:
        return counted(runner.progress.running, "request", "requests")

    return await watched(runner, Bar(lambda seconds: _line(runner, seconds)), under_way)


def _line(runner: Runner, seconds: float) -> str:
    """How far a run is after that time."""
    from llmgate.cli.progress import clock, counted, share

    progress, done, total = runner.progress, runner.journal.done, runner.source.total
    parts = [share(len(done), total), f"{progress.running} running"]
    if done.failed:
        parts.append(f"{done.failed} failed")
    if retries := counted(progress.retries, "retry", "retries"):
        parts.append(retries)
    finished = progress.answered + progress.failed
    if finished and seconds > 0:
        parts.append(f"{finished / seconds:.1f}/s")
        parts.append(f"{clock((total - len(done)) * seconds / finished)} left")
    if cooling := runner.limits.cooling:
        parts.append(f"rate limit, waiting {cooling:.0f} s")
    elif holding := runner.limits.holding:
        parts.append(f"at the limit, next in {holding:.0f} s")
    return "  ".join(parts)


def _conclude(runner: Runner, before: int, signal: int | None) -> None:
    """Say how it went, and exit accordingly."""
    progress, done, total = runner.progress, runner.journal.done, runner.source.total
    parts = [f"{done.answered} answered"]
    if done.failed:
        parts.append(f"{done.failed} failed")
    if left := total - len(done):
        parts.append(f"{left} not done")
    line = f"{total} {'request' if total == 1 else 'requests'}: {', '.join(parts)}"
    if before:
        line += f" ({before} in earlier runs)"
    if tokens := progress.prompt_tokens + progress.completion_tokens:
        line += f"; {tokens} tokens, {progress.completion_tokens} of them written"
    click.echo(f"{line}. Results: {runner.journal.path}", err=True)
    if progress.codes:
        named = ", ".join(f"{code} ({n})" for code, n in progress.codes.most_common(5))
        click.echo(f"Failures: {named}.", err=True)
    if runner.gave_up is not None:
        click.echo(f"llmgate: gave up, as nothing gets through: {runner.gave_up}", err=True)
    if left and signal is not None:
        click.echo(_RESUME, err=True)
        raise SystemExit(128 + signal)
    if done.failed:
        click.echo("Ask for the failed ones again with --retry-failed.", err=True)
    if done.failed or left:
        sys.exit(1)
