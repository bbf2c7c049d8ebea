"""`file:` keeps everything in a folder of JSON files that a person can read."""

from __future__ import annotations

from llmgate.storage.base import Records
from llmgate.storage.files.engine import Files, Options
from llmgate.storage.local import Local
from llmgate.storage.url import Url

__all__ = ["Files", "Options", "open_url"]


async def open_url(url: Url) -> Records:
    """The store in the folder that the URL names; it is made."""
    path, options = url.path(), url.options(Options)
    return await Local.open(lambda: Files(path, options))
