"""The plugin fails closed: a hook that cannot do its work stops the server and names itself."""

import pytest

from sglang_soft import ledger, plugin
from sglang_soft.ledger import RECORDS, check_applied, check_signatures
from sglang_soft.support import SERVER_LIMITS, unsupported_server


def test_every_hook_fits_the_installed_sglang():
    check_signatures(RECORDS)


def test_a_missing_target_stops_the_server():
    gone = RECORDS[0]._replace(target="sglang.srt.managers.tokenizer_manager.TokenizerManager.gone")
    with pytest.raises(SystemExit, match=r"TokenizerManager\.gone.*cannot be found"):
        check_signatures([gone])


def test_a_changed_signature_stops_the_server():
    with pytest.raises(SystemExit, match=r"its parameters are .* expected \('self', 'other'\)"):
        check_signatures([RECORDS[0]._replace(parameters=("self", "other"))])


def test_a_hook_that_was_not_applied_stops_the_server():
    patched = {r.target for r in RECORDS} - {RECORDS[3].target}
    with pytest.raises(SystemExit, match=RECORDS[3].target.rsplit(".", 1)[1]):
        check_applied(RECORDS, patched)


def test_an_sglang_outside_the_window_stops_the_server(monkeypatch):
    monkeypatch.setattr(plugin, "version", lambda _: "0.6.0")
    with pytest.raises(SystemExit, match=r"supports sglang 0\.5\.23, found 0\.6\.0"):
        plugin.register()


def test_the_ledger_is_complete():
    assert len({r.target for r in RECORDS}) == len(RECORDS)
    for record in RECORDS:
        assert record.why and record.until and record.kind in ("before", "after", "around")
        ledger.LazyHook(record.hook)


@pytest.mark.parametrize(("field", "works", "name"), SERVER_LIMITS, ids=lambda v: str(v))
def test_unsupported_server_modes_are_named(field, works, name):
    from types import SimpleNamespace

    args = SimpleNamespace(**{f: w for f, w, _ in SERVER_LIMITS})
    assert unsupported_server(args) is None
    setattr(args, field, "something else")
    assert name in unsupported_server(args) and field.replace("_", "-") in unsupported_server(args)


def test_no_module_of_ours_shadows_hugging_face_kernels():
    import kernels

    assert "site-packages" in kernels.__file__
