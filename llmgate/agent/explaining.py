"""Why a server reads a prompt again: where it stops being the one before, and what did that."""

from __future__ import annotations
