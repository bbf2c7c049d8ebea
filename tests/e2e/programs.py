"""Runs `llmgate` as a program of its own, the way a person does."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path


class Serve:
    """A running `llmgate serve` on a free port."""

    def __init__(self, *arguments: str, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llmgate", "serve", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        found = re.search(r"http://\S+/v1", self.first_line)
        if found is None:
            raise RuntimeError(f"llmgate serve: {self.first_line} {self.process.communicate()[1]}")
        self.url = found[0]
        self.errors: list[str] = []
        # Both pipes are read to their ends, or a full one would stop the server.
        self._readers = [
            threading.Thread(target=kept.extend, args=(pipe,), daemon=True)
            for pipe, kept in ((self.process.stdout, []), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Serve:
        return self

    def __exit__(self, *reason: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        for reader in self._readers:
            reader.join(20)
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()
