"""A server that merely has the plugin installed, where Soft Thinking cannot work: discrete requests
are served, soft ones get an error."""

from types import SimpleNamespace

import pytest
import torch
from sglang.srt.managers.schedule_batch import FINISH_ABORT, Req
from sglang.srt.runtime_context import ParallelContext
from sglang.srt.sampling.sampling_params import SamplingParams

from sglang_soft.engine import unsupported
from sglang_soft.hooks import model_runner, output_streamer, req, sampler
from sglang_soft.server import settings
from tests.issue_table import row
from tests.unit.soft_request import request_params


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.delenv("SGLANG_SOFT_MAX_K")
    monkeypatch.setattr(unsupported, "_reasons", [])
    monkeypatch.setattr(ParallelContext, "tp_rank", 1)  # rank 0 logs an error
    settings.get_settings.cache_clear()
    yield
    settings.get_settings.cache_clear()


@pytest.fixture
def enabled(monkeypatch, installed):
    monkeypatch.setenv(settings.REQUIRED, "1")


def request(value=None, **kwargs) -> Req:
    """A request as the scheduler makes it, with the hook that runs after `Req.__init__`."""
    custom = None if value is None else {"soft_thinking": value}
    sampling = SamplingParams(max_new_tokens=5, custom_params=custom)
    made = Req("rid", "", [1, 2, 3], sampling, vocab_size=100, eos_token_ids=set(), **kwargs)
    req.after_init(None, made)
    return made


def runner(model: torch.nn.Module) -> SimpleNamespace:
    return SimpleNamespace(model=model, is_generation=True, is_draft_worker=False)


def rust_scheduler() -> SimpleNamespace:
    return SimpleNamespace(rust_server=object())


class OtherSampler(torch.nn.Module):
    pass


class Streamer:
    has_additional_customized_info = False


UNSUPPORTED = {
    "embedding": lambda: model_runner.after_load_model(None, runner(torch.nn.Linear(2, 2))),
    "sampler": lambda: sampler.after_create_sampler(OtherSampler()),
    "rust": lambda: output_streamer.output_streamer_class(Streamer, rust_scheduler()),
}


@pytest.mark.parametrize("what", UNSUPPORTED)
@row(
    "A5",
    "a model that cannot be mixed, the plugin merely installed",
    "the server did not start",
    "discrete requests as without it, soft ones HTTP 400",
)
def test_a_soft_request_is_an_error_and_a_discrete_one_is_not(what):
    assert request(request_params().encode()).soft is not None
    result = UNSUPPORTED[what]()
    assert result is None or not getattr(result, "has_additional_customized_info", False)
    soft, discrete = request(request_params().encode()), request()
    assert soft.soft is None and isinstance(soft.to_finish, FINISH_ABORT)
    assert unsupported.reason() in soft.to_finish.message and soft.to_finish.status_code == 400
    assert discrete.soft is None and discrete.to_finish is None


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_a_server_that_was_asked_for_it_does_not_start(enabled, what):
    with pytest.raises(SystemExit, match="SGLANG_PLUGINS=none"):
        UNSUPPORTED[what]()


@row(
    "B10",
    "a LoRA adapter on the embedding",
    "the adapter was left out of the mixture in silence",
    "HTTP 400",
)
def test_a_lora_adapter_on_the_embedding_is_refused_with_soft_thinking(monkeypatch):
    monkeypatch.setattr(unsupported, "_runners", [])
    for module, refused in ((None, False), (object(), True)):
        manager = SimpleNamespace(embed_tokens_module=module)
        unsupported.serves(SimpleNamespace(lora_manager=manager))
        made = request(request_params().encode(), lora_id="a")
        assert (made.soft is None) == refused
        assert not refused or "LoRA on embed_tokens" in made.to_finish.message
        assert request(request_params().encode()).soft is not None, "without an adapter"
        assert request(lora_id="a").to_finish is None, "discrete"


@pytest.mark.parametrize("value", [True, {"method": "soft"}, "yes", '{"params": 1}', 7])
@row(
    "A1",
    "a value in the scheduler that no front end made",
    "an exception in the scheduler",
    "that request ends with an error",
)
def test_a_value_that_nobody_validated_ends_its_own_request(value):
    made = request(value)
    assert made.soft is None and "front end" in made.to_finish.message
    assert made.to_finish.status_code == 400


def test_a_default_that_no_front_end_considered_is_an_error(monkeypatch):
    monkeypatch.setenv("SGLANG_SOFT_DEFAULT", "true")
    assert "--soft-default" in request().to_finish.message
    assert request(False).to_finish is None, "a front end considered it"


@row(
    "B10",
    "custom_logit_processor next to soft_thinking",
    "it got an encoded string",
    "it gets the request's object, completed",
)
def test_a_custom_logit_processor_reads_an_object():
    made = request(request_params(max_topk=7).encode())
    assert made.sampling_params.custom_params["soft_thinking"]["max_topk"] == 7


def test_a_request_that_ends_before_it_ran_keeps_its_prompt_and_has_no_thought():
    made = request(request_params().encode())
    req.set_finish_with_abort(Req.set_finish_with_abort, made, "no")
    made.soft.finish(made.origin_input_ids, [9], "abort")
    assert made.soft.trace.prompt_ids.tolist() == [1, 2, 3] and not len(made.soft.trace.output_ids)
    summary = made.soft.summary()
    assert summary["thinking_tokens"] == summary["answer_tokens"] == 0
    assert summary["thinking_finish_reason"] == "abort"


@row(
    "A4",
    "many requests whose method feeds embedding offsets",
    "each within its own bound, the server out of memory",
    "HTTP 503 above --soft-max-vector-mb-total",
)
def test_host_memory_is_bounded_for_all_requests_together(monkeypatch):
    monkeypatch.setenv("SGLANG_SOFT_MAX_VECTOR_MB_TOTAL", "3")
    encoded = request_params("soft_noise", host_bytes=2**20).encode()
    held = [request(encoded) for _ in range(3)]
    assert all(made.soft is not None for made in held)
    refused = request(encoded)
    assert refused.to_finish.status_code == 503 and "3.0 of 3 MiB" in refused.to_finish.message
    assert request(request_params().encode()).soft is not None, "soft needs none"
    # Not when it is forgotten: ranks forget at different times.
    held[0].finished_reason = FINISH_ABORT()
    held.append(request(encoded))
    assert held[-1].soft is not None, "what a finished request had is free again"
    assert request(encoded).soft is None
