"""Other models in place of one that fails: in which order, for which failures, and said so."""

from __future__ import annotations

import pytest
from scripted_models import FakeClock, ask, codes, gateway_of, model_of, scripted, streamed

from llmgate.errors import (
    BackendError,
    BackendRejected,
    BackendUnreachable,
    ContextOverflow,
    OutputError,
    RequestError,
)
from llmgate.gateway import Gateway

GONE = BackendUnreachable("gone")


def gateway_over(clock=None, **models):
    """Models by their names: a list of answers, or a pair of answers and policy."""
    clock = clock or FakeClock(flows=True)
    made, backends = [], {}
    for name, what in models.items():
        answers, policy = what if isinstance(what, tuple) else (what, {})
        context = policy.pop("context", None)
        backends[name] = scripted(*answers, context=context)
        made.append(model_of(name, backends[name], clock=clock, **policy))
    return gateway_of(*made, clock=clock), backends


def falls_to(*names, **policy):
    return {"fallbacks": names, **policy}


@pytest.mark.parametrize("how", [Gateway.complete, streamed])
@pytest.mark.parametrize(
    "failure", [GONE, BackendError("500"), BackendRejected("the key is wrong")]
)
async def test_the_first_fallback_that_can_answers_and_a_note_says_why(how, failure):
    gateway, backends = gateway_over(
        a=([failure], falls_to("b", "c")), b=[BackendError("odd")], c=["there"]
    )
    completion = await how(gateway, ask("a"))
    assert completion.message.content == "there"
    [note] = completion.notes
    assert note.code == "fallback"
    assert note.message == f"'c' answered in place of 'a': {failure}"
    assert len(backends["b"].prompts) == 1
    await gateway.aclose()


async def test_retries_come_before_fallbacks():
    gateway, backends = gateway_over(a=([GONE, "there"], falls_to("b", retries=1)), b=["b"])
    assert (await gateway.complete(ask("a"))).message.content == "there"
    assert backends["b"].prompts == []
    await gateway.aclose()


async def test_when_all_fail_the_client_hears_of_the_model_it_asked_for():
    gateway, backends = gateway_over(
        a=([GONE], falls_to("b")), b=([BackendError("b")], falls_to("c")), c=[BackendError("c")]
    )
    with pytest.raises(BackendUnreachable, match="gone"):
        await gateway.complete(ask("a"))
    assert len(backends["c"].prompts) == 1
    await gateway.aclose()


async def test_nothing_falls_back_once_a_piece_was_passed_on():
    gateway, backends = gateway_over(a=(["half", ["half ", GONE]], falls_to("b")), b=["b"])
    await streamed(gateway, ask("a"))
    with pytest.raises(BackendUnreachable):
        await streamed(gateway, ask("a"))
    assert backends["b"].prompts == []
    await gateway.aclose()


async def test_what_the_request_itself_is_wrong_in_is_asked_of_nobody_else():
    gateway, backends = gateway_over(a=([RequestError("odd")], falls_to("b")), b=["b"])
    with pytest.raises(RequestError, match="odd"):
        await gateway.complete(ask("a"))
    assert backends["b"].prompts == []


async def test_an_unusable_answer_falls_back_after_its_correction():
    gateway, backends = gateway_over(a=(["five", "six"], falls_to("b")), b=["5"])
    completion = await gateway.complete(ask("a", grammar='root ::= "5"'))
    assert completion.message.content == "5"
    assert codes(completion) == ["fallback"]
    assert len(backends["a"].prompts) == 2
    gateway, _ = gateway_over(a=(["five", "six"], falls_to("b")), b=[GONE])
    with pytest.raises(OutputError):
        await gateway.complete(ask("a", grammar='root ::= "5"'))
    await gateway.aclose()


@pytest.mark.parametrize(("contexts", "answers"), [((8, 4, 16), "c"), ((8, 16, 32), "b")])
async def test_what_is_too_long_goes_to_a_model_that_is_known_to_read_more(contexts, answers):
    overflow = ContextOverflow("too long")
    a, b, c = contexts
    gateway, _ = gateway_over(
        a=([overflow], falls_to("b", "c", context=a)), b=(["b"], {"context": b}), c=(["c"], {})
    )
    gateway._models["c"]._context = c
    completion = await gateway.complete(ask("a", text="x"))
    assert completion.message.content == answers
    assert codes(completion) == ["fallback"]


async def test_what_is_too_long_goes_to_no_model_that_may_read_less():
    gateway, backends = gateway_over(
        a=([ContextOverflow("too long")], falls_to("b", "c", context=8)),
        b=(["b"], {"context": 8}),
        c=["c"],
    )
    with pytest.raises(ContextOverflow):
        await gateway.complete(ask("a"))
    assert backends["b"].prompts == backends["c"].prompts == []


async def test_a_model_that_is_down_is_asked_last():
    gateway, backends = gateway_over(
        clock=FakeClock(), a=([GONE, GONE, "a"], falls_to("b")), b=["b", "b", GONE, GONE]
    )
    for _ in range(2):
        completion = await gateway.complete(ask("a"))
        assert completion.message.content == "b"
        assert completion.notes[0].message.endswith("gone")
    assert len(backends["a"].prompts) == 1
    with pytest.raises(BackendUnreachable):
        await gateway.complete(ask("a"))
    assert len(backends["a"].prompts) == 2
    completion = await gateway.complete(ask("a"))
    assert completion.message.content == "a"
    assert completion.notes == ()
    await gateway.aclose()


async def test_a_fallback_may_be_an_alias_or_match_a_pattern():
    clock = FakeClock()
    gateway = gateway_of(
        model_of("a", scripted(GONE), clock=clock, fallbacks=("second", "x/third")),
        model_of("b", scripted(GONE), clock=clock, aliases=("second",)),
        model_of("x/*", scripted("third"), clock=clock),
        clock=clock,
    )
    assert (await gateway.complete(ask("a"))).message.content == "third"
    await gateway.aclose()


async def test_each_model_gets_its_own_sampling_and_the_request_as_it_was():
    import msgspec

    from llmgate.types import Sampling

    gateway, backends = gateway_over(a=([GONE], falls_to("b")), b=["b"])
    for name, top_k in (("a", 3), ("b", 7)):
        replica = gateway._models[name].replicas.all[0]
        sampling = Sampling(top_k=top_k, temperature=0.1)
        replica.route = msgspec.structs.replace(replica.route, sampling=sampling)
    await gateway.complete(ask("a", sampling=Sampling(temperature=0.9)))
    [first], [second] = backends["a"].prompts, backends["b"].prompts
    assert (first.sampling.top_k, second.sampling.top_k) == (3, 7)
    assert first.sampling.temperature == second.sampling.temperature == 0.9
    await gateway.aclose()
