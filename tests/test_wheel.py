"""The wheel has what it needs: it is built, installed somewhere fresh, and renders a template."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    # Not isolated: an isolated build would fetch hatchling anew.
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = folder.glob("*.whl")
    return path


def test_the_wheel_has_templates_grammars_and_the_model(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "llmgate/templates/chatml.jinja",
        "llmgate/grammars/json.gbnf",
        "llmgate/data/llmgate-tiny.gguf",
        "llmgate/data/presets/memgpt_chat.yaml",
        "llmgate/data/system_prompts/memgpt_chat.txt",
        "llmgate/data/personas/starter.txt",
        "llmgate/data/humans/basic.txt",
        "llmgate/py.typed",
    ):
        assert wanted in names
    assert not [name for name in names if name.startswith(("tests/", "templates/", "grammars/"))]


def test_the_wheel_renders_a_template_in_a_fresh_environment(wheel, tmp_path):
    home = tmp_path / "fresh"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*/site-packages"))
    # The wheel alone is unpacked there; its dependencies are this environment's, so that the
    # test needs no package registry.
    zipfile.ZipFile(wheel).extractall(site)
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(dependencies))
    code = (
        "import llmgate, pathlib, sys\n"
        "from llmgate import Wrapper, Request, Message\n"
        "from llmgate.types import Caps\n"
        "from llmgate import resources\n"
        "assert pathlib.Path(llmgate.__file__).is_relative_to(sys.prefix)\n"
        "assert resources.default_model().is_file()\n"
        "request = Request(model='m', messages=(Message('user', 'hi'),))\n"
        "print(Wrapper.load('chatml').render(request, Caps()).text)\n"
    )
    shown = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert shown.stderr == ""
    assert shown.stdout == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n\n"
