"""What is refused before a run starts, and what an answer must carry to count."""

import pytest
from sglang_soft_evals import run

from tests.evals.fake_server import completion, probe, reply, serving, soft, solve
from tests.evals.runs import METHODS, info, samples, small
from tests.issue_table import case, row


def refused(base_url, folder, **changes) -> str:
    """The message; nothing may have been asked or recorded."""
    with pytest.raises(ValueError, match="nothing was run") as error:
        run.execute(small(base_url, **changes), folder)
    assert samples(folder) == [] and not (folder / "run.json").exists()
    return str(error.value)


def test_refused_methods_are_named_before_anything_runs(tmp_path):
    def respond(request):
        return (400, {"message": f"no {soft(request)}"}) if soft(request) else solve(request)

    with serving(respond) as server:
        message = refused(server.base_url, tmp_path)
        assert all(probe(request) for request in server.asked)
    assert "methods.soft: HTTP 400: no {'max_topk': 10}" in message
    assert "methods.stop: HTTP 400" in message and "methods.discrete" not in message


@row("C15", "a stock server, without the plugin", "CoT is compared with CoT", "refused by name")
def test_a_server_without_the_plugin_is_refused_by_name(tmp_path):
    """A stock server ignores custom_params and answers with CoT."""
    with serving(lambda request: completion("Answer: 1")) as server:
        message = refused(server.base_url, tmp_path)
        for name in ("soft", "stop"):
            assert f"methods.{name}: the answer has no meta_info.soft_thinking" in message
        assert f"{server.base_url} does not run the plugin sglang_soft" in message
        assert "python -m sglang_soft.launch_server" in message and "discrete:" not in message
        # A run without Soft Thinking does not need the plugin.
        plain = small(server.base_url, methods=[{"name": "discrete"}])
        assert run.execute(plain, tmp_path).complete


@row("C15", "a server that answers by another method", "compared all the same", "refused by name")
def test_a_server_that_uses_another_method_is_refused(tmp_path):
    methods = [{"name": "mine", "soft_thinking": {"method": "moi"}}, {"name": "plain"}]
    with serving(lambda request: completion("Answer: 1", method="soft")) as server:
        message = refused(server.base_url, tmp_path, methods=methods)
    assert "methods.mine: asked for method 'moi', the server used method 'soft'" in message
    assert "methods.plain: asked for a discrete request, the server used method 'soft'" in message


@pytest.mark.parametrize(
    ("method", "served", "error"),
    [
        case("C15", "one replica without the plugin", "counted as soft", "a failed sample",
             "soft", None, "asked for method 'soft', the answer has no meta_info.soft_thinking"),
        case("C15", "cot for a soft row", "counted as soft", "a failed sample",
             "soft", "cot", "asked for method 'soft', the server used method 'cot'"),
        case("C15", "soft for a discrete row", "counted as CoT", "a failed sample",
             "discrete", "soft", "asked for a discrete request, the server used method 'soft'"),
        case("C15", "soft for a cot row", "counted as CoT", "a failed sample",
             "cot", "soft", "asked for method 'cot', the server used method 'soft'"),
    ],
)  # fmt: skip
def test_every_sample_must_carry_the_method_that_was_asked_for(tmp_path, method, served, error):
    """For example, one replica after a load balancer lacks the plugin."""
    wanted = {"discrete": False, "soft": {"max_topk": 10}, "cot": {"method": "cot"}}[method]

    def respond(request):
        other = not probe(request) and soft(request) == wanted and len(server.asked) % 5 == 0
        return completion("Answer: 1", method=served) if other else solve(request)

    with serving(respond) as server:
        methods = [*METHODS, {"name": "cot", "soft_thinking": {"method": "cot"}}]
        result = run.execute(small(server.base_url, methods=methods), tmp_path)
    assert result.statuses["failed"] > 0 and result.errors == {}
    for record in samples(tmp_path):
        if record["status"] == "failed":
            assert record["method"] == method and record["error"] == error
            assert record["correct"] is None and record["text"] == ""
        else:
            assert record["correct"]


@row("C15", "a server whose default method changes", "goes on", "refused by name")
def test_a_default_method_that_changes_is_refused_when_a_run_is_resumed(tmp_path):
    """A method table without `method` leaves the choice to the server."""

    def respond(request):
        return completion("Answer: 1", method=default) if soft(request) else solve(request)

    default = "moi"
    with serving(respond) as server:
        assert run.execute(small(server.base_url), tmp_path).complete
        assert [m["thinking_method"] for m in info(tmp_path)["methods"]] == [None, "moi", "moi"]
        default = "soft"
        message = "methods.soft was run with the thinking method 'moi', and the server now uses 'so"
        with pytest.raises(ValueError, match=message):
            run.execute(small(server.base_url), tmp_path)


def test_a_run_that_never_thinks_says_so(tmp_path, capsys):
    with serving(lambda request: reply(request, "Answer: 1", thinking=-1)) as server:
        server.prompt = "What?"
        run.execute(small(server.base_url, methods=[{"name": "discrete"}]), tmp_path)
    assert "note: no method was thinking in a trial" in capsys.readouterr().out
