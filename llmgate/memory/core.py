"""Core memory: the blocks of an agent, edited by compare-and-swap and never without a trace."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

from llmgate.errors import Conflict, FunctionError, RequestError, UnknownName
from llmgate.memory import history, names
from llmgate.memory.blocks import Block, appended, check_size, replaced
from llmgate.memory.history import Edit, Kind
from llmgate.memory.text import storable
from llmgate.storage import Line, Records, Transaction

# Who changes blocks: an agent is refused where a block is read-only.
USER = "user"
IMPORT = "import"
_AGENT = "agent "
# The limit of a block that is given none, in characters.
LIMIT = 2000

Change = Callable[[Block], str]


def agent_author(name: str) -> str:
    """How an agent is named in the history of the blocks that it edits."""
    return f"{_AGENT}{name}"


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """A block as it is stored: its id is in the key, its version that of the document."""

    label: str
    value: str
    limit: int
    updated_at: datetime
    description: str = ""
    read_only: bool = False
    shared: bool = False


class Core:
    """The blocks of one agent, by their labels. `by` is who edits them if a call does not say.

    Every edit and its entry in the history are one transaction. Where somebody else has changed
    the block meanwhile it is applied again to the new value: no update is lost. An edit with a
    `call`, the id of a function call that is unique for the agent, is done once: again with the
    same call it only returns the block.

    Edits that can't be done raise `FunctionError`, whose text a model understands, and an unknown
    label `UnknownName`.
    """

    def __init__(
        self,
        records: Records,
        blocks: Mapping[str, str],
        *,
        by: str,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._records = records
        self._ids = dict(blocks)
        self._by = by
        self._clock = clock or _now

    @property
    def ids(self) -> dict[str, str]:
        """The labels, in their order, and the id of the block behind each."""
        return dict(self._ids)

    async def create(
        self,
        label: str,
        value: str,
        limit: int = LIMIT,
        description: str = "",
        read_only: bool = False,
        shared_id: str | None = None,
        *,
        by: str | None = None,
        tx: Transaction | None = None,
    ) -> Block:
        """Make a block and attach it. With `shared_id` others can attach it by that id.

        With `tx` it is there at the end of that transaction, and has version -1 until then.
        Raises `RequestError` if the label or the id is taken.
        """
        names.check_name(label, "block")
        if label in self._ids:
            raise RequestError(f"there is a block {label!r} already.", param="label")
        if limit < 1:
            raise RequestError(f"the limit of a block can't be {limit}.", param="limit")
        block_id = shared_id or f"{label}-{uuid.uuid4().hex}"
        names.check_name(shared_id or label, "shared block" if shared_id else "block")
        now = self._clock()
        stored = _Stored(
            label,
            storable(value),
            limit,
            now,
            storable(description),
            read_only,
            shared_id is not None,
        )
        block = _block(block_id, stored, -1)
        check_size(msgspec.structs.replace(block, value=""), stored.value)
        edit = Edit(1, now, by or self._by, None, "create", "", stored.value)
        if tx is not None:
            await self._add(tx, block, stored, edit)
        else:
            try:
                async with self._records.transaction() as own:
                    await self._add(own, block, stored, edit)
            except Conflict:
                raise _taken(block_id) from None
        self._ids[label] = block_id
        return block if tx is not None else await self.get(label)

    async def attach(self, label: str, block_id: str) -> Block:
        """Have a block that is there under a label of one's own."""
        names.check_name(label, "block")
        if label in self._ids:
            raise RequestError(f"there is a block {label!r} already.", param="label")
        found = await self._records.get(names.block(block_id))
        if found is None:
            raise UnknownName("shared block", block_id, await shared_blocks(self._records))
        self._ids[label] = block_id
        return await self.get(label)

    def detach(self, label: str) -> None:
        """Have a block no longer. It stays where it is, for others and for its history."""
        self._id(label)
        del self._ids[label]

    async def blocks(self) -> tuple[Block, ...]:
        """All blocks, in the order in which they were attached."""
        return tuple([await self.get(label) for label in self._ids])

    async def get(self, label: str) -> Block:
        """The block as it is now."""
        found = await self._records.get(names.block(self._id(label)))
        if found is None:
            raise self._gone(label)
        stored = msgspec.convert(found.value, _Stored)
        return _block(self._ids[label], stored, found.version, label)

    async def append(
        self, label: str, text: str, *, call: str | None = None, by: str | None = None
    ) -> Block:
        """Add text on a line of its own."""
        text = storable(text)
        return await self._edit(
            label, "append", (text,), lambda block: appended(block, text), call, by
        )

    async def replace(
        self, label: str, old: str, new: str, *, call: str | None = None, by: str | None = None
    ) -> Block:
        """Put a new text in the place of one that is there exactly once; an empty one removes it.

        Raises `FunctionError`, which says how often it is there and where, or what is most like it.
        """
        old, new = storable(old), storable(new)
        return await self._edit(
            label, "replace", (old, new), lambda block: replaced(block, old, new), call, by
        )

    async def rewrite(
        self, label: str, text: str, *, call: str | None = None, by: str | None = None
    ) -> Block:
        """Put a new text in the place of all that is there."""
        text = storable(text)
        return await self._edit(label, "rewrite", (text,), lambda _: text, call, by)

    async def change(
        self,
        label: str,
        *,
        limit: int | None = None,
        description: str | None = None,
        read_only: bool | None = None,
    ) -> Block:
        """Change what a block may be; its value and history stay as they are."""
        while True:
            block = await self.get(label)
            if limit is not None and limit < max(1, len(block.value)):
                raise RequestError(
                    f"the limit of the block {label!r} can't be {limit}: it has "
                    f"{len(block.value)} characters.",
                    hint="Shorten it first.",
                    param="limit",
                )
            key = names.block(block.id)
            try:
                async with self._records.transaction() as tx:
                    found = await tx.get(key)
                    if found is None or found.version != block.version:
                        continue
                    stored = msgspec.convert(found.value, _Stored)
                    new = msgspec.structs.replace(
                        stored,
                        limit=stored.limit if limit is None else limit,
                        description=stored.description if description is None else description,
                        read_only=stored.read_only if read_only is None else read_only,
                    )
                    tx.put(key, new)
            except Conflict:
                continue
            return await self.get(label)

    async def log(self, label: str) -> tuple[Edit, ...]:
        """Every edit, from the creation on."""
        log = names.history(self._id(label))
        edits: list[Edit] = []
        while entries := await self._records.read(log, after=len(edits)):
            edits += [
                msgspec.convert({**entry.value, "number": entry.position}, Edit)
                for entry in entries
            ]
        return tuple(edits)

    async def diff(self, label: str, a: int | None = None, b: int | None = None) -> str:
        """What changed from after edit `a` to after edit `b`, as a unified diff.

        Of the last edit where they are not given; 0 is the empty block.
        """
        return history.diff(await self.log(label), label, a, b)

    async def undo(self, label: str, *, by: str | None = None, number: int | None = None) -> Block:
        """Take back the last edit that counts, or the one of that number; again: the one before.

        The number of an undo does again what it took back. Raises `RequestError` if there is
        nothing to undo, or if other edits came after it.
        """
        return await self._back(label, by, lambda edits: history.to_undo(edits, label, number))

    async def redo(self, label: str, *, by: str | None = None) -> Block:
        """Take back the last undo, if nothing was changed since. Raises `RequestError`."""
        return await self._back(label, by, lambda edits: history.to_redo(edits, label))

    async def _edit(
        self,
        label: str,
        kind: Kind,
        arguments: tuple[str, ...],
        change: Change,
        call: str | None,
        by: str | None,
    ) -> Block:
        author = by or self._by
        mark = _mark(author, call, kind, arguments)
        while True:
            # What was done already is looked for first: by now it might not be possible again.
            if mark and await self._done(label, mark):
                return await self.get(label)
            block = await self.get(label)
            _check_author(block, author)
            value = change(block)
            check_size(block, value)
            if value == block.value and not mark:
                return block
            edit = Edit(0, self._clock(), author, call, kind, block.value, value)
            if await self._put(block, edit, mark):
                return await self.get(label)

    async def _back(
        self, label: str, by: str | None, find: Callable[[tuple[Edit, ...]], Edit]
    ) -> Block:
        author = by or self._by
        while True:
            block = await self.get(label)
            _check_author(block, author)
            target = find(await self.log(label))
            edit = Edit(
                0, self._clock(), author, None, "undo", block.value, target.before, target.number
            )
            # A block that has changed since is another version; then all is looked at again.
            if await self._put(block, edit, ""):
                return await self.get(label)

    async def _put(self, block: Block, edit: Edit, mark: str) -> bool:
        """Whether the edit is done: not if the block is another by now."""
        key = names.block(block.id)
        try:
            async with self._records.transaction() as tx:
                found = await tx.get(key)
                if found is None or found.version != block.version:
                    return False
                stored = msgspec.convert(found.value, _Stored)
                tx.put(key, msgspec.structs.replace(stored, value=edit.after, updated_at=edit.at))
                await tx.append(names.history(block.id), _line(edit, mark))
        except Conflict:
            return False
        return True

    async def _add(self, tx: Transaction, block: Block, stored: _Stored, edit: Edit) -> None:
        key = names.block(block.id)
        if await tx.get(key) is not None:
            raise _taken(block.id)
        tx.put(key, stored)
        tx.drop(names.history(block.id))
        await tx.append(names.history(block.id), _line(edit, ""))

    async def _done(self, label: str, mark: str) -> bool:
        page = await self._records.search(names.history(self._id(label)), mark, limit=1)
        return page.total > 0

    def _id(self, label: str) -> str:
        if label not in self._ids:
            raise UnknownName("block", label, self._ids)
        return self._ids[label]

    def _gone(self, label: str) -> UnknownName:
        return UnknownName(
            "block",
            label,
            (other for other in self._ids if other != label),
            where=f": {self._ids[label]!r} was deleted; detach it",
        )


async def shared_blocks(records: Records) -> list[str]:
    """The ids of the blocks that any agent may attach."""
    found: list[str] = []
    after = ""
    while keys := await records.keys(f"{names.BLOCKS}/", after=after):
        after = keys[-1]
        for key in keys:
            document = await records.get(key)
            if document is not None and document.value.get("shared"):
                found.append(key.removeprefix(f"{names.BLOCKS}/"))
    return found


def _block(block_id: str, stored: _Stored, version: int, label: str | None = None) -> Block:
    return Block(
        block_id,
        label or stored.label,
        stored.value,
        stored.limit,
        stored.description,
        stored.read_only,
        stored.shared,
        version,
        stored.updated_at,
    )


def _line(edit: Edit, mark: str) -> Line:
    value = {
        name: field for name, field in msgspec.structs.asdict(edit).items() if name != "number"
    }
    # Searches of a history are only for calls that were done already.
    return Line(value, text=mark, at=edit.at)


def _mark(author: str, call: str | None, kind: str, arguments: tuple[str, ...]) -> str:
    """What only the same call with the same arguments has; empty without a call."""
    if call is None:
        return ""
    return sha256(msgspec.json.encode([author, storable(call), kind, *arguments])).hexdigest()


def _check_author(block: Block, author: str) -> None:
    if block.read_only and author.startswith(_AGENT):
        raise FunctionError(
            f"the block {block.label!r} is read-only.",
            hint="Use another block, or archival memory.",
        )


def _taken(block_id: str) -> RequestError:
    return RequestError(
        f"there is a shared block {block_id!r} already.", hint="Attach it.", param="shared_id"
    )


def _now() -> datetime:
    return datetime.now(UTC)
