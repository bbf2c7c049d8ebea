"""Several servers of one model: which of them answers a request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Literal

from llmgate.errors import LlmgateError, OutputError
from llmgate.gateway.clock import Clock
from llmgate.gateway.generation import Route
from llmgate.gateway.health import Health
from llmgate.gateway.queue import Places

Balance = Literal["least_busy", "weighted"]

# How many conversations are remembered for each model, and by how many requests the replica that
# knows one may be busier than the others: a warm cache is worth waiting for, but not for long.
_CONVERSATIONS = 4096
_WORTH = 2


class Replica:
    """One server of a model, with its places and its health."""

    def __init__(
        self, name: str, route: Route, places: Places, health: Health, weight: float = 1.0
    ) -> None:
        self.name = name
        self.route = route
        self.places = places
        self.health = health
        self.weight = weight
        self.credit = 0.0

    @property
    def load(self) -> float:
        """Requests that run or wait there, by what it can carry."""
        return self.places.present / self.weight

    async def aclose(self) -> None:
        """Let go of the backend."""
        await self.health.aclose()
        await self.route.backend.aclose()


class Turn:
    """The stay of one request at a replica, from the place it got to the place it gave back."""

    def __init__(
        self, replica: Replica, replicas: Replicas, conversation: str, clock: Clock
    ) -> None:
        self.replica = replica
        self.began = clock.now()
        self._replicas = replicas
        self._conversation = conversation
        self._clock = clock
        self._over = False

    def worked(self) -> None:
        """It has begun to answer."""
        self.replica.health.worked()
        self._replicas.served(self._conversation, self.replica)

    def end(self, error: BaseException | None = None, *, finished: bool = False) -> None:
        """Give the place back; `error` is what the stay ended with. Only the first call counts."""
        if self._over:
            return
        self._over = True
        if isinstance(error, OutputError):
            self.worked()  # what it wrote can't be used, but it wrote
        elif isinstance(error, LlmgateError):
            self.replica.health.failed(error)
            if not self.replica.health.up and self._replicas.up:
                self.replica.places.dismiss()
        self.replica.places.leave(self._clock.now() - self.began if finished else None)
        self._replicas.share(self.replica)


class Replicas:
    """Chooses among the replicas of one model, and remembers where each conversation was."""

    def __init__(
        self, replicas: Sequence[Replica], balance: Balance = "least_busy", *, clock: Clock
    ) -> None:
        self.all = tuple(replicas)
        self._balance = balance
        self._clock = clock
        self._served: OrderedDict[str, Replica] = OrderedDict()
        self._turn = 0

    @property
    def up(self) -> bool:
        """Whether any of them should be asked."""
        return any(replica.health.up for replica in self.all)

    def others(self, tried: Collection[Replica]) -> bool:
        """Whether one that was not tried yet should be asked."""
        return any(replica.health.up and replica not in tried for replica in self.all)

    def choose(self, conversation: str, tried: Collection[Replica] = ()) -> Replica:
        """The replica that is to answer: one that was not `tried`, as far as there is one.

        Where all are down it is the one that failed longest ago.
        """
        if len(self.all) == 1:
            return self.all[0]
        up = [replica for replica in self.all if replica.health.up]
        fresh = [replica for replica in up if replica not in tried] or up
        if not fresh:
            least_full = [replica for replica in self.all if not replica.places.full] or self.all
            return min(least_full, key=lambda replica: replica.health.failed_at)
        free = [replica for replica in fresh if not replica.places.full] or fresh
        least = min(free, key=lambda replica: replica.load)
        known = self._served.get(conversation)
        if known is not None and known in free and _worth_it(known, least):
            return known
        return self._by_weight(free) if self._balance == "weighted" else self._idlest(free, least)

    def share(self, idle: Replica) -> None:
        """Let one that waits for another replica come to this one, if it has a place."""
        if len(self.all) == 1 or idle.places.taken or not idle.health.up:
            return
        busiest = max(self.all, key=lambda replica: replica.places.waiting)
        if busiest.places.waiting:
            busiest.places.dismiss(1)

    def served(self, conversation: str, replica: Replica) -> None:
        """Remember that this conversation is warm there. One without a name is not remembered."""
        if len(self.all) == 1 or not conversation:
            return
        self._served[conversation] = replica
        self._served.move_to_end(conversation)
        if len(self._served) > _CONVERSATIONS:
            self._served.popitem(last=False)

    def _idlest(self, free: Sequence[Replica], least: Replica) -> Replica:
        """One of those that have least to do, in turn."""
        ties = [replica for replica in free if replica.load <= least.load]
        self._turn += 1
        return ties[self._turn % len(ties)]

    def _by_weight(self, free: Sequence[Replica]) -> Replica:
        """Smooth weighted round robin, as nginx has it: no bursts to the one that weighs most."""
        for replica in free:
            replica.credit += replica.weight
        chosen = max(free, key=lambda replica: replica.credit)
        chosen.credit -= sum(replica.weight for replica in free)
        return chosen


def _worth_it(known: Replica, least: Replica) -> bool:
    """Whether a conversation should stay where it was, though another one has less to do."""
    if known.places.taken and not least.places.taken:
        return False
    return known.places.present < least.places.present + _WORTH * known.weight
