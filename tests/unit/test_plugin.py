"""The plugin fails closed: a change that cannot do its work stops the server and names itself."""

import ast
import inspect
import pkgutil
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

import sglang_soft
from sglang_soft import plugin
from sglang_soft.hooks.check import LazyHook, check_applied, check_targets, load
from sglang_soft.hooks.registry import FIELDS, HOOKS, hooks_of
from sglang_soft.server.limits import (
    REQUEST_LIMITS,
    SERVER_LIMITS,
    unsupported_request,
    unsupported_server,
)

HERE = hooks_of(version("sglang"))
BY_SGLANG = [hook for hook in HOOKS if hook.by_sglang]


def test_every_change_fits_the_installed_sglang():
    check_targets(HERE)
    assert all(callable(load(hook.hook)) for hook in HOOKS)


def test_a_missing_target_stops_the_server():
    gone = HOOKS[0]._replace(target="sglang.srt.managers.tokenizer_manager.TokenizerManager.gone")
    with pytest.raises(SystemExit, match=r"TokenizerManager\.gone.*cannot be found"):
        check_targets([gone])


@pytest.mark.parametrize(
    "name", ["_preprocess_logits", "_sample_from_probs", "_sync_token_ids_across_tp"]
)
def test_a_renamed_private_method_of_the_sampler_stops_the_server(monkeypatch, name):
    """An override of a method that SGLang no longer calls would be dead code."""
    from sglang.srt.layers.sampler import Sampler

    monkeypatch.setattr(Sampler, name + "_v2", getattr(Sampler, name), raising=False)
    monkeypatch.delattr(Sampler, name)
    with pytest.raises(SystemExit, match=rf"Sampler\.{name}: it cannot be found"):
        check_targets(HERE)


def test_a_changed_signature_stops_the_server():
    with pytest.raises(SystemExit, match=r"its parameters are .* expected \('self', 'other'\)"):
        check_targets([HOOKS[0]._replace(parameters=("self", "other"))])


def test_a_hook_that_was_not_applied_stops_the_server():
    patched = {hook.target for hook in BY_SGLANG} - {BY_SGLANG[3].target}
    with pytest.raises(SystemExit, match=BY_SGLANG[3].target.rsplit(".", 1)[1]):
        check_applied(HERE, patched)
    check_applied(HERE, {hook.target for hook in BY_SGLANG})


def test_an_sglang_outside_the_window_stops_the_server(monkeypatch):
    monkeypatch.setattr(plugin, "version", lambda _: "0.6.0")
    monkeypatch.delenv(plugin.ANY_SGLANG, raising=False)
    with pytest.raises(SystemExit, match=r"supports sglang .*0\.5\.23, found 0\.6\.0"):
        plugin.register()


def test_the_registry_is_complete():
    """Every override of an SGLang class and every attribute set on one of its objects is in it."""
    from sglang.srt.layers.logprob_processor import OutputLogprobProcessor
    from sglang.srt.layers.sampler import Sampler

    from sglang_soft.hooks.sampler import LogprobsOfEmitted, SoftSampler

    assert len({hook.target for hook in HOOKS}) == len(HOOKS)
    kinds = ("before", "after", "around", "override", "instance", "patch", "route", "setting")
    for hook in HOOKS:
        assert hook.why and hook.until and hook.kind in kinds
        LazyHook(hook.hook)
    overrides = {hook.target for hook in HOOKS if hook.kind == "override"}
    for ours, theirs in ((SoftSampler, Sampler), (LogprobsOfEmitted, OutputLogprobProcessor)):
        for name in set(vars(ours)) & set(vars(theirs)):
            if inspect.isfunction(vars(ours)[name]) and name != "__init__":
                assert f"{theirs.__module__}.{theirs.__name__}.{name}" in overrides
    assert _set_attributes() == {"soft"} and all(name.endswith(".soft") for name in FIELDS)


def _set_attributes() -> set[str]:
    """Names of the attributes of ours that hooks assign on objects of SGLang's."""
    found = set()
    for file in (Path(sglang_soft.__file__).parent / "hooks").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            for target in getattr(node, "targets", []):
                if isinstance(target, ast.Attribute) and "soft" in target.attr:
                    found.add(target.attr)
    return found


@pytest.mark.parametrize(("field", "works", "name"), SERVER_LIMITS, ids=lambda v: str(v))
def test_unsupported_server_modes_are_named(field, works, name):
    args = SimpleNamespace(**{f: w for f, w, _ in SERVER_LIMITS})
    assert unsupported_server(args) is None
    setattr(args, field, "something else")
    assert name in unsupported_server(args)
    assert field.replace("_", "-") in unsupported_server(args)


@pytest.mark.parametrize(("field", "name"), REQUEST_LIMITS, ids=lambda v: str(v))
def test_unsupported_requests_are_named(field, name):
    from sglang.srt.sampling.sampling_params import SamplingParams

    asked = SimpleNamespace(**{f: None for f, _ in REQUEST_LIMITS})
    assert unsupported_request(asked, SamplingParams()) is None
    setattr(asked, field, ["x"])
    assert unsupported_request(asked, SamplingParams()) == f"{name} ({field})"


def test_beam_search_is_refused():
    from sglang.srt.sampling.sampling_params import SamplingParams

    assert "beam_width=2" in unsupported_request(object(), SamplingParams(beam_width=2))
    assert unsupported_request(object(), SamplingParams(beam_width=1)) is None


def test_watermarks_are_refused():
    def reason(own, **server) -> str | None:
        sampling = SimpleNamespace(beam_width=None, watermark=own)
        return unsupported_request(object(), sampling, SimpleNamespace(**server))

    on, off = SimpleNamespace(enabled=True), SimpleNamespace(enabled=False)
    assert "watermark" in reason(on) and reason(off) is None and reason(None) is None
    assert "watermark" in reason(None, watermark_default_enabled=True)
    assert reason(off, watermark_default_enabled=True) is None


def test_no_module_of_ours_shadows_hugging_face_kernels():
    found = pkgutil.resolve_name("kernels")
    assert "site-packages" in found.__file__
