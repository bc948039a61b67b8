"""What cannot be right is refused by name; real ServerArgs and requests of SGLang."""

from types import SimpleNamespace

import pytest
from sglang.srt.arg_groups.model_override_base import resolving_view
from sglang.srt.managers.io_struct import GenerateReqInput
from sglang.srt.sampling.sampling_params import SamplingParams
from sglang.srt.server_args import ServerArgs

from sglang_soft.server.limits import (
    REQUEST_LIMITS,
    SERVER_LIMITS,
    unsupported_request,
    unsupported_server,
)
from tests.issue_table import row

SET = {"speculative_algorithm": "EAGLE", "disaggregation_mode": "decode", "dllm_algorithm": "llada",
       "decoupled_spec_role": "verifier", "aux_hidden_state_capture": "EAGLE3",
       "kv_events_config": "{}", "radix_cache_backend": "mine"}  # fmt: skip
"""What a field is set to that is neither a flag nor a size."""


def arguments(**fields) -> ServerArgs:
    return ServerArgs(model_path="none", **fields)


def request(**fields) -> GenerateReqInput:
    return GenerateReqInput(text="a", **fields)


def test_sglangs_defaults_are_supported():
    assert unsupported_server(resolving_view(arguments())) is None
    assert unsupported_request(request(), SamplingParams(), arguments()) is None
    off = arguments(enable_decoder_swa_bounded_replay=False, use_ray=False)
    assert unsupported_server(resolving_view(off)) is None


@pytest.mark.parametrize(
    ("field", "works", "name"),
    [limit for limit in SERVER_LIMITS if limit[0] in ServerArgs.__struct_fields__],
    ids=lambda value: str(value),
)
@row(
    "B9",
    "--enable-torch-compile, megakernels, DP attention, ...",
    "started, or spoke of something else",
    "refused by name at start",
)
def test_a_server_mode_is_refused_by_name(field, works, name):
    value = SET.get(field, True if not isinstance(works, int) or works is False else 2)
    reason = unsupported_server(resolving_view(arguments(**{field: value})))
    assert reason and name in reason and f"--{field.replace('_', '-')}={value}" in reason


def test_every_limit_is_a_field_of_sglang():
    server = {field for field, *_ in SERVER_LIMITS}
    assert server <= set(ServerArgs.__struct_fields__)
    of_requests = {field for field, _ in REQUEST_LIMITS}
    assert of_requests <= set(GenerateReqInput.__dataclass_fields__) | {"embed_overrides"}


@pytest.mark.parametrize(("field", "name"), [*REQUEST_LIMITS, ("beam_width", "beam search")])
@row(
    "B10",
    "return_sampling_mask, input_embeds, sessions, ...",
    "a mask of another token, ...",
    "HTTP 400 that names the field",
)
def test_a_request_field_is_refused_by_name(field, name):
    sampling = SamplingParams()
    obj = request()
    setattr(sampling if field == "beam_width" else obj, field, 3)
    reason = unsupported_request(obj, sampling)
    assert reason and name in reason and field in reason


def watermark(**fields):
    sampling = SamplingParams(watermark=fields)
    sampling.normalize(None)
    return sampling


def test_a_watermark_of_the_request_or_the_server_is_refused():
    config = SimpleNamespace(**{f: getattr(arguments(), f) for f in ServerArgs.__struct_fields__})
    plain = SamplingParams()
    for sampling, server, refused in (
        (plain, {}, False),
        (watermark(enabled=True), {}, True),
        (watermark(key="1234567890abcdef"), {}, True),
        (watermark(enabled=False), {"watermark_default_enabled": True}, False),
        (plain, {"watermark_default_enabled": True}, True),
        (plain, {"watermark_enforce_all": True}, True),
    ):
        merged = SimpleNamespace(**vars(config) | server)
        assert unsupported_server(merged) is None, "discrete requests may have watermarks"
        reason = unsupported_request(request(), sampling, merged)
        assert bool(reason) == refused, (sampling, server)
        assert not refused or "watermark" in reason
