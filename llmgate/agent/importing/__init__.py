"""Agents of an old `~/.memgpt` (MemGPT 0.2), brought over from what it kept as JSON and text.

Python's pickles are never read: reading one runs whatever code is in it. What was only in them
is listed in the report.

    old   the folders, and the JSON of one agent
    history   several saved states of an agent → one history
    messages   its messages → ours
    documents   passages that LlamaIndex kept as JSON
    storing   an agent → the store, in one transaction
    copying   personas, humans, presets and system prompts → the user's folder
"""

from __future__ import annotations

from llmgate.agent.importing.copying import Copied, copy_texts
from llmgate.agent.importing.old import OldAgent, OldHome, find
from llmgate.agent.importing.storing import Imported, store, store_source

__all__ = [
    "Copied",
    "Imported",
    "OldAgent",
    "OldHome",
    "copy_texts",
    "find",
    "store",
    "store_source",
]
