"""Which replica answers: the idlest or by weight, the one that knows the conversation, one up."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from scripted_models import FakeClock, ask, gateway_of, model_of, replica_of, scripted

from llmgate.errors import BackendUnreachable
from llmgate.gateway import replicas as replicas_module
from llmgate.gateway.call import conversation_of
from llmgate.gateway.replicas import Replicas
from llmgate.types import Message, Request


def replicas_of(*weights, balance="least_busy", **options):
    clock = FakeClock()
    all_ = [
        replica_of(f"r{i}", clock=clock, weight=weight, **options)
        for i, weight in enumerate(weights)
    ]
    return Replicas(all_, balance, clock=clock), clock


def names(chosen):
    return [replica.name for replica in chosen]


def test_replicas_that_have_as_much_to_do_take_turns():
    replicas, _ = replicas_of(1, 1, 1)
    chosen = names(replicas.choose(f"c{i}") for i in range(9))
    assert Counter(chosen) == {"r0": 3, "r1": 3, "r2": 3}
    assert len(set(chosen[:3])) == 3


async def test_the_one_with_the_least_to_do_by_its_weight_is_chosen():
    replicas, _ = replicas_of(1, 4)
    chosen = []
    for i in range(10):
        replica = replicas.choose(f"c{i}")
        await replica.places.enter("x")
        chosen.append(replica)
    assert Counter(names(chosen)) == {"r0": 2, "r1": 8}


def test_weighted_replicas_are_chosen_by_weight_and_without_bursts():
    replicas, _ = replicas_of(5, 1, 1, balance="weighted")
    chosen = names(replicas.choose(f"c{i}") for i in range(7))
    assert Counter(chosen) == {"r0": 5, "r1": 1, "r2": 1}
    assert chosen == ["r0", "r0", "r1", "r0", "r2", "r0", "r0"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_a_round_by_weight_gives_each_its_share(weights):
    replicas, _ = replicas_of(*weights, balance="weighted")
    chosen = Counter(names(replicas.choose(f"c{i}") for i in range(sum(weights))))
    if len(weights) > 1:
        assert chosen == {f"r{i}": weight for i, weight in enumerate(weights)}


def test_a_conversation_stays_where_it_was_served():
    for balance in ("least_busy", "weighted"):
        replicas, _ = replicas_of(1, 1, 1, balance=balance)
        first = replicas.choose("c")
        replicas.served("c", first)
        assert {replicas.choose("c") for _ in range(9)} == {first}


async def test_a_conversation_moves_when_its_replica_is_clearly_busier():
    replicas, _ = replicas_of(1, 1)
    first = replicas.choose("c")
    replicas.served("c", first)
    await first.places.enter("x")
    assert replicas.choose("c") is first
    await first.places.enter("x")
    assert replicas.choose("c") is not first


async def test_a_conversation_does_not_wait_for_its_replica_while_another_one_has_a_place():
    replicas, _ = replicas_of(1, 1, concurrency=1)
    first = replicas.choose("c")
    replicas.served("c", first)
    await first.places.enter("x")
    other = replicas.choose("c")
    assert other is not first
    await other.places.enter("x")
    assert replicas.choose("c") is first


async def test_a_conversation_moves_when_its_replica_is_down_or_full():
    replicas, _ = replicas_of(1, 1)
    first = replicas.choose("c")
    replicas.served("c", first)
    first.health.failed(BackendUnreachable("gone"))
    assert replicas.choose("c") is not first
    await first.health.aclose()

    replicas, _ = replicas_of(1, 1, concurrency=1, queue=0)
    first = replicas.choose("c")
    replicas.served("c", first)
    await first.places.enter("x")
    assert replicas.choose("c") is not first


def test_only_so_many_conversations_are_remembered(monkeypatch):
    monkeypatch.setattr(replicas_module, "_CONVERSATIONS", 3)
    replicas, _ = replicas_of(1, 1)
    for i in range(10):
        replicas.served(f"c{i}", replicas.all[0])
    assert list(replicas._served) == ["c7", "c8", "c9"]


async def test_where_all_are_down_the_one_that_failed_longest_ago_is_tried():
    replicas, clock = replicas_of(1, 1, 1)
    for number in (1, 0, 2):
        replicas.all[number].health.failed(BackendUnreachable("gone"))
        clock.time += 1
    assert replicas.choose("c").name == "r1"
    replicas.all[1].health.failed(BackendUnreachable("gone again"))
    assert replicas.choose("c").name == "r0"
    for replica in replicas.all:
        await replica.aclose()


def conversation(*texts, name=None):
    roles = ("system", "user", "assistant", "user", "assistant", "user")
    messages = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))
    return conversation_of(Request("m", messages, conversation=name))


def test_a_conversation_is_known_by_its_name_or_by_its_beginning():
    begun = conversation("You add.", "Hi.")
    assert begun == conversation("You add.", "Hi.", "Hello!", "Add five.")
    assert begun != conversation("You add.", "Hello.")
    assert begun != conversation("You multiply.", "Hi.")
    assert conversation("You add.", "Hi.", name="mine") == "mine"
    assert conversation_of(Request("m", (Message("assistant"),)))


async def test_turns_of_a_conversation_meet_the_same_replica_and_slot():
    clock = FakeClock()
    backends = [scripted(*["ok"] * 20) for _ in range(3)]
    gateway = gateway_of(model_of("m", *backends, clock=clock), clock=clock)
    for turn in range(5):
        for name in ("a", "b", "c", "d"):
            await gateway.complete(ask(text=f"turn {turn}", conversation=name))
    asked = {name: [] for name in "abcd"}
    for backend in backends:
        for prompt in backend.prompts:
            asked[prompt.slot].append(backend)
    assert [len(served) for served in asked.values()] == [5, 5, 5, 5]
    assert [len(set(served)) for served in asked.values()] == [1, 1, 1, 1]


async def test_a_conversation_that_was_served_elsewhere_stays_there():
    clock = FakeClock(flows=True)
    first, second = scripted(BackendUnreachable("gone")), scripted(*["ok"] * 9)
    model = model_of("m", first, second, clock=clock, retries=1, balance="weighted")
    gateway = gateway_of(model, clock=clock)
    await gateway.complete(ask(conversation="c"))
    model.replicas.all[0].health.worked()
    for _ in range(5):
        await gateway.complete(ask(conversation="c"))
    assert (len(first.prompts), len(second.prompts)) == (1, 6)
    await gateway.aclose()


async def test_all_replicas_are_started_and_closed():
    clock = FakeClock()
    backends = [scripted(), scripted()]
    gateway = gateway_of(model_of("m", *backends, clock=clock), clock=clock)
    backends[1].sick = BackendUnreachable("not yet")
    async with gateway:
        await gateway.start()
        assert [backend.started for backend in backends] == [1, 1]
        model = gateway._models["m"]
        assert [replica.health.up for replica in model.replicas.all] == [True, False]
    assert [backend.closed for backend in backends] == [1, 1]
