"""Fixtures that more than one part's tests use."""

from __future__ import annotations

import os

import hypothesis
import pytest

# How long an example takes on a busy machine says nothing about the code.
# In CI the examples are always the same: a new one is to be found here, not while landing.
hypothesis.settings.register_profile("llmgate", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("llmgate")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_this_machine(tmp_path_factory):
    """Tests never see the configuration, keys, servers or history of who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LLMGATE_")]:
            patch.delenv(name)
        patch.setenv("LLMGATE_DISCOVER", "off")
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))
        yield


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files anew, then read them"
    )
    parser.addoption("--soak-seconds", type=float, default=60.0, help="how long the soak goes on")
    parser.addoption(
        "--cuttings", type=int, default=100_000, help="how many cuttings the stream law is tried on"
    )
    parser.addoption(
        "--histories", type=int, default=1_000, help="how many random histories have to fit"
    )
