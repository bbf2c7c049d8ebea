"""The functions that come with llmgate, and the user's own from `functions/*.py`."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from llmgate.agent.functions.base import BASE
from llmgate.agent.functions.extras import EXTRAS
from llmgate.agent.functions.schema import function_of
from llmgate.agent.functions.spec import Function
from llmgate.agent.functions.telling import told
from llmgate.errors import ConfigError, RequestError
from llmgate.validation import Checker

FOLDER = "functions"


def shipped() -> dict[str, Function]:
    """The functions that come with llmgate, by name."""
    made = [function_of(target) for target in (*BASE, *EXTRAS)]
    return {function.name: function for function in made}


def load(user_folder: Path | None) -> tuple[dict[str, Function], tuple[str, ...]]:
    """All functions by name, the shipped ones and those in `functions/*.py`, and warnings.

    A file that can't be run is skipped, a function that can't be used or whose name is taken
    too, each with a warning that names the file and the reason. Names that begin with `_` are
    left alone.
    """
    functions = shipped()
    warnings: list[str] = []
    for path in _files(user_folder, warnings):
        module = _module(path, warnings)
        for target in _public(module) if module is not None else ():
            try:
                made = function_of(target, source=str(path))
                Checker.of(made.tool.parameters, param=f"The schema of {made.name!r} in {path}")
            except (ConfigError, RequestError) as error:
                warnings.append(f"{error} It is left out.")
                continue
            if (other := functions.get(made.name)) is not None:
                warnings.append(
                    f"the function {made.name!r} in {path} is left out: its name is taken by "
                    f"{other.source or 'a function of llmgate'}. Rename it."
                )
            else:
                functions[made.name] = made
    return functions, tuple(warnings)


def _files(user_folder: Path | None, warnings: list[str]) -> list[Path]:
    """The user's files of functions, in the order of their names."""
    if user_folder is None or not (folder := user_folder / FOLDER).is_dir():
        return []
    try:
        return sorted(path for path in folder.glob("*.py") if path.name[0] not in "._")
    except OSError as error:
        warnings.append(f"{folder} can't be read ({error}). Its functions are left out.")
        return []


def _module(path: Path, warnings: list[str]) -> ModuleType | None:
    """The file run as a module, None with a warning if that fails."""
    place = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    name = f"llmgate_functions_{place}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        warnings.append(f"{path} is no file of Python. Its functions are left out.")
        return None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses with hints as texts look for their module there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    # It is somebody's program: whatever it raises, the agent gets going without it.
    except BaseException as error:  # noqa: BLE001
        sys.modules.pop(name, None)
        where = _line(error, path)
        warnings.append(f"{path}{where} can't be run ({told(error)}). Its functions are left out.")
        return None
    return module


def _public(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """The functions that are defined in a module, in their order there."""
    found = {
        value: None
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
    }
    return iter(found)


def _line(error: BaseException, path: Path) -> str:
    """The last line of the file that the error went through."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno},"
    number = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            number = trace.tb_lineno
        trace = trace.tb_next
    return f", line {number}," if number else ""
