"""What happens to the data of one direction of one connection: a chain of stages, one per toxic, each with an inbox.

A stage leaves a chunk in its inbox until it has passed it on, so that a toxic can be changed, added or removed at any
moment (its task is cancelled and another started) and no byte is lost, doubled or reordered. All of it runs in one
event loop; between two awaits nothing else happens.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

CHUNK_BYTES = 32 * 1024  # what is read at a time, as in Toxiproxy
_FEW, _MANY = 4, 1024  # chunks that may wait for a stage; before a delay, as many as are on their way meanwhile


Work = Coroutine[Any, Any, None]


@dataclass
class Chunk:
    data: bytes
    read_s: float  # when it was read, on the loop's clock
    entered_s: float = 0.0  # when it came to the stage where it is


@dataclass
class ToxicSpec:
    """A toxic of a proxy, as Toxiproxy's API writes it; `attributes` in its units."""

    name: str
    kind: str
    stream: str
    toxicity: float
    attributes: dict[str, int]

    def document(self) -> dict[str, object]:
        return {
            "attributes": dict(self.attributes),
            "name": self.name,
            "type": self.kind,
            "stream": self.stream,
            "toxicity": self.toxicity,
        }


class Stage:
    """One toxic at work on one stream, or (toxic None) the end of the chain, which writes to the socket."""

    def __init__(self, chain: Chain, toxic: ToxicSpec | None) -> None:
        self.chain, self.toxic = chain, toxic
        self.inbox: deque[Chunk | None] = deque()  # None: the stream has ended
        self.room_for = _MANY if toxic and toxic.kind == "latency" else _FEW
        self.closed = False  # what still comes is dropped
        self.passed_bytes = 0
        self.free_at_s = 0.0  # bandwidth: when what was passed last has left
        name = toxic.name if toxic else ""
        self.random = random.Random(f"{chain.seed}/{name}/values")
        self._draw = random.Random(f"{chain.seed}/{name}/toxicity").random()
        self.task: asyncio.Task[None] | None = None

    @property
    def active(self) -> bool:
        """Whether the toxic works on this connection: one draw for its whole life."""
        return self.toxic is not None and self._draw < self.toxic.toxicity

    def start(self) -> None:
        if self.toxic is None:
            work = self.chain.write(self)
        else:
            work = WORK[self.toxic.kind](self, self.toxic.attributes) if self.active else _pass(self)
        self.task = asyncio.get_running_loop().create_task(work)

    def stop(self) -> None:
        if self.task:
            self.task.cancel()

    def take(self, chunk: Chunk | None) -> None:
        if not self.closed:
            if chunk:
                chunk.entered_s = asyncio.get_running_loop().time()
            self.inbox.append(chunk)
        self.chain.changed()

    async def first(self) -> Chunk | None:
        """The chunk that is next; it stays where it is."""
        await self.chain.until(lambda: bool(self.inbox))
        return self.inbox[0]

    async def room(self) -> None:
        """Until the next stage can take one more."""
        await self.chain.until(lambda: len(self.next.inbox) < self.next.room_for)

    @property
    def next(self) -> Stage:
        return self.chain.stages[self.chain.stages.index(self) + 1]

    def move(self, size: int | None = None) -> None:
        """The first chunk, or its first `size` bytes, to the next stage."""
        chunk = self.inbox[0]
        if chunk is None or size is None or size >= len(chunk.data):
            self.next.take(self.inbox.popleft())
            self.passed_bytes += len(chunk.data) if chunk else 0
            return
        self.next.take(Chunk(chunk.data[:size], chunk.read_s))
        self.inbox[0] = Chunk(chunk.data[size:], chunk.read_s, chunk.entered_s)
        self.passed_bytes += size

    def drop(self) -> None:
        self.inbox.popleft()
        self.chain.changed()

    def close(self) -> None:
        """End the stream here: what was passed on still arrives, what comes is dropped."""
        self.closed = True
        self.inbox.clear()
        self.next.take(None)


class Chain:
    """The stages between reading a socket and writing another. seed: of this direction of this connection."""

    def __init__(self, seed: str, toxics: list[ToxicSpec], write: Callable[[Stage], Work]) -> None:
        self.seed, self.write = seed, write
        self.reset = False  # the sockets are to be closed with RST
        self._waiting: list[asyncio.Future[None]] = []
        self.stages = [Stage(self, toxic) for toxic in (*toxics, None)]
        for stage in self.stages:
            stage.start()

    def changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            change = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change

    async def put(self, chunk: Chunk) -> None:
        """From the reader, which waits for room: so the sender is slowed too."""
        await self.until(lambda: len(self.stages[0].inbox) < self.stages[0].room_for)
        self.stages[0].take(chunk)

    def put_end(self) -> None:
        self.stages[0].take(None)

    def add(self, toxic: ToxicSpec) -> None:
        stage = Stage(self, toxic)
        self.stages.insert(-1, stage)
        stage.start()
        self.changed()

    def update(self, toxic: ToxicSpec) -> None:
        """The toxic's values have changed."""
        for stage in self.stages:
            if stage.toxic is toxic:
                stage.stop()
                stage.start()

    def remove(self, toxic: ToxicSpec) -> None:
        """What waits in its stage goes on at once. A timeout has dropped data: there the stream ends, as it must."""
        for stage in [each for each in self.stages if each.toxic is toxic]:
            stage.stop()
            if toxic.kind == "timeout" and stage.active and not stage.closed:
                stage.close()
            for chunk in stage.inbox:
                stage.next.take(chunk)
            self.stages.remove(stage)
        self.changed()

    def stop(self) -> None:
        for stage in self.stages:
            stage.stop()


async def _sleep_until(at_s: float) -> None:
    await asyncio.sleep(max(0.0, at_s - asyncio.get_running_loop().time()))


async def _pass(stage: Stage) -> None:
    """A toxic that does not work on this connection."""
    while True:
        chunk = await stage.first()
        await stage.room()
        stage.move()
        if chunk is None:
            return


async def _latency(stage: Stage, values: Mapping[str, int]) -> None:
    while True:
        chunk = await stage.first()
        if chunk is not None:
            jitter = values.get("jitter", 0)
            delay_ms = values.get("latency", 0) + (stage.random.uniform(-jitter, jitter) if jitter > 0 else 0)
            due_s = chunk.read_s + delay_ms / 1e3
            await _sleep_until(due_s)
            await stage.room()
            chunk.read_s = max(chunk.read_s, due_s)  # the next toxic of this kind adds to it
        stage.move()
        if chunk is None:
            return


async def _bandwidth(stage: Stage, values: Mapping[str, int]) -> None:
    bytes_per_s = values.get("rate", 0) * 1000
    if bytes_per_s <= 0:
        await _pass(stage)
        return
    piece = max(1, bytes_per_s // 10)  # 0.1 s at most is held back for its turn
    while True:
        chunk = await stage.first()
        if chunk is None:
            stage.move()
            return
        size = min(piece, len(chunk.data))
        # From when it could have begun to leave: a late turn of this loop is made up for, an idle time is not.
        due_s = max(chunk.entered_s, stage.free_at_s) + size / bytes_per_s
        await _sleep_until(due_s)
        await stage.room()
        stage.free_at_s = due_s
        stage.move(size)


async def _slow_close(stage: Stage, values: Mapping[str, int]) -> None:
    while True:
        chunk = await stage.first()
        if chunk is None:
            await asyncio.sleep(values.get("delay", 0) / 1e3)
            stage.move()
            return
        await stage.room()
        stage.move()


async def _timeout(stage: Stage, values: Mapping[str, int]) -> None:
    after_s = values.get("timeout", 0) / 1e3 or None
    while True:
        try:
            chunk = await asyncio.wait_for(stage.first(), after_s)
        except TimeoutError:
            chunk = None
        if chunk is None:
            stage.close()
            return
        stage.drop()


async def _reset_peer(stage: Stage, values: Mapping[str, int]) -> None:
    await stage.first()
    await asyncio.sleep(values.get("timeout", 0) / 1e3)
    stage.chain.reset = True
    stage.close()


async def _slicer(stage: Stage, values: Mapping[str, int]) -> None:
    average, variation = max(1, values.get("average_size", 0)), values.get("size_variation", 0)
    while True:
        chunk = await stage.first()
        if chunk is None:
            stage.move()
            return
        for size in sliced(len(chunk.data), average, variation, stage.random):
            await stage.room()
            stage.move(size)
            await asyncio.sleep(values.get("delay", 0) / 1e6)


def sliced(size: int, average: int, variation: int, source: random.Random) -> list[int]:
    """Sizes of the pieces: halves of halves, each cut moved by at most the variation, until they are small enough."""
    if size - average <= variation:
        return [size]
    cut = size // 2 + (source.randrange(-variation, variation) if variation > 0 else 0)
    if not 0 < cut < size:
        return [size]
    return sliced(cut, average, variation, source) + sliced(size - cut, average, variation, source)


async def _limit_data(stage: Stage, values: Mapping[str, int]) -> None:
    limit = values.get("bytes", 0)
    while True:
        chunk = await stage.first()
        if chunk is None:
            stage.move()
            return
        if stage.passed_bytes < limit:
            await stage.room()
            stage.move(min(limit - stage.passed_bytes, len(chunk.data)))
        if stage.passed_bytes >= limit:
            stage.close()
            return


WORK: Mapping[str, Callable[[Stage, Mapping[str, int]], Work]] = {
    "latency": _latency,
    "bandwidth": _bandwidth,
    "slow_close": _slow_close,
    "timeout": _timeout,
    "reset_peer": _reset_peer,
    "slicer": _slicer,
    "limit_data": _limit_data,
}
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "latency": ("latency", "jitter"),
    "bandwidth": ("rate",),
    "slow_close": ("delay",),
    "timeout": ("timeout",),
    "reset_peer": ("timeout",),
    "slicer": ("average_size", "size_variation", "delay"),
    "limit_data": ("bytes",),
}
