"""`llmgate version`: what is installed."""

from __future__ import annotations

import click

# What answers depend on most: the engine first.
_PACKAGES = (
    "llama-cpp-python",
    "jinja2",
    "jsonschema-rs",
    "json-repair",
    "msgspec",
    "httpx",
    "starlette",
    "uvicorn",
    "prompt-toolkit",
    "rich",
    "pyyaml",
    "numpy",
    "usearch",
    "tiktoken",
)


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Say which versions of llmgate, Python, the engine and other packages are installed."""
    import json
    import platform
    import sqlite3

    from llmgate import __version__

    found = {
        "llmgate": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        **{name: _version(name) for name in _PACKAGES},
    }
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, version in found.items():
        click.echo(f"{name:<18}{version or 'not installed'}")


def _version(package: str) -> str | None:
    """The version of a package, without importing it."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
