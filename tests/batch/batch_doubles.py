"""Time that passes only when everybody waits, and targets that do as they are told."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json

from llmgate.batch import Answer, Failure


class VirtualClock:
    """A clock for `run`: when nothing else goes on, it jumps to where the next sleeper wakes."""

    def __init__(self):
        self.time = 1000.0
        self._order = itertools.count()
        self._sleepers = []

    def now(self):
        return self.time

    async def sleep(self, seconds):
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._order), woken))
        await woken

    async def run(self, work):
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(30):
                await asyncio.sleep(0)
            if task.done():
                break
            if not self._sleepers:
                await asyncio.sleep(0.001)  # something is being written
                continue
            at, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self.time = max(self.time, at)
                woken.set_result(None)
        return await task


class ScriptedTarget:
    """Answers each request by a list of what happens to it, then by success.

    `asked` are the indices and times of all attempts; `most` ran at a time.
    """

    def __init__(self, clock, script=None, *, seconds=0.1, tokens=(10, 5)):
        self.clock = clock
        self.script = {index: list(ends) for index, ends in (script or {}).items()}
        self.seconds = seconds
        self.tokens = tokens
        self.asked = []
        self.running = self.most = 0

    async def ask(self, job):
        self.asked.append((job.index, self.clock.now()))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.clock.sleep(self.seconds)
        finally:
            self.running -= 1
        if ends := self.script.get(job.index):
            return ends.pop(0)
        prompt, completion = self.tokens
        return Answer({"echo": job.body}, 200, None, prompt, completion)

    def times(self, index):
        return [time for asked, time in self.asked if asked == index]


def failing(status, **facts):
    return Failure(f"http_{status}", f"status {status}", status, {"error": {}}, **facts)


def chat_line(text, **more):
    return {"messages": [{"role": "user", "content": text}], **more}


def write_lines(path, *lines):
    """A file of requests: values as JSON, text and bytes as they are."""
    data = b""
    for line in lines:
        if isinstance(line, str):
            line = line.encode()
        elif not isinstance(line, bytes):
            line = json.dumps(line).encode()
        data += line + b"\n"
    path.write_bytes(data)
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def stamp(line):
    return line[3] if isinstance(line, list) else line["llmgate"]
