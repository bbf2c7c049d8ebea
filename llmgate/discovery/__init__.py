"""Finds model servers on this machine, says what they are, and tries what they can do."""

from __future__ import annotations

from llmgate.discovery.examination import Report, examine
from llmgate.discovery.identity import Identity, identify
from llmgate.discovery.ports import PORTS, answering
from llmgate.discovery.search import Found, search

__all__ = [
    "PORTS",
    "Found",
    "Identity",
    "Report",
    "answering",
    "examine",
    "identify",
    "search",
]
