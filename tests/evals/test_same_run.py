"""Resuming means the same model, server settings, data and grader; and a run that cannot work does
not start."""

import orjson
import pytest
import tomllib
from sglang_soft_evals import cli, facts, paper, preflight, run, runfile

from sglang_soft import launch_server, resolve
from sglang_soft.params import Sampling
from sglang_soft.server import settings
from tests.evals.fake_server import completion, probe, serving, soft, solve
from tests.evals.runs import METHODS, info, samples, small
from tests.issue_table import case, row

CHANGED = {
    "model_path": "other",
    "dtype": "bfloat16",
    "tp_size": 2,
    "reasoning_parser": None,
    "quantization": "fp8",
    "kv_cache_dtype": "fp8_e5m2",
    "chat_template": "x.jinja",
    "context_length": 4096,
    "attention_backend": "triton",
    "version": "0.5.24",
    "json_model_override_args": "{}",
    "enable_deterministic_inference": True,
    "lora_paths": ["a"],
    "sampling_defaults": "openai",
    "weight_version": "2",
}
HARMLESS = {
    "host": "h",
    "port": 1,
    "random_seed": 2,
    "api_key": "k",
    "log_level": "debug",
    "launch_command": "--api-key k",
    "mem_fraction_static": 0.1,
    "enable_metrics": True,
    "startup_time": {"load_weight": 0.02},
}


@pytest.fixture
def started(tmp_path):
    """(server, file of questions, a function that resumes the run and returns what is refused)."""
    data = tmp_path / "data.jsonl"
    data.write_text('{"question": "What is 1+1?", "answer": "2"}\n')
    with serving() as server:
        server.info |= {"tp_size": 1, "reasoning_parser": "deepseek-r1", "random_seed": 1}
        config = {"data": str(data), "questions": None, "samples": 1}

        def resume() -> str:
            try:
                run.execute(small(server.base_url, **config), tmp_path / "out")
            except ValueError as error:
                return str(error)
            return ""

        assert resume() == ""
        yield server, data, resume


@pytest.mark.parametrize(
    ("name", "value"),
    [case("C17", f"resumed with another {name}", "goes on", "refused by name", name, value)
     for name, value in CHANGED.items()],
)  # fmt: skip
def test_other_server_settings_are_refused_by_name(started, name, value):
    server, _, resume = started
    before = server.info.get(name)
    server.info[name] = value
    message = resume()
    assert "another model, server or data" in message
    assert f"server.{name} was {before!r}, is {value!r}" in message


def test_what_does_not_change_an_answer_is_not_compared(started):
    server, _, resume = started
    server.info |= HARMLESS
    assert resume() == ""


@row("C17", "resumed after the file of questions was edited", "goes on", "refused by name")
@pytest.mark.parametrize("line", ['"What is 1+2?", "answer": "2"', '"What is 1+1?", "answer": "3"'])
def test_other_data_are_refused(started, line):
    _, data, resume = started
    data.write_text(f'{{"question": {line}}}\n')
    assert "data (SHA-256 of the questions) was" in resume()


@row("C17", "resumed with another model", "goes on", "refused by name")
def test_another_model_is_refused(started, monkeypatch):
    _, _, resume = started

    async def models(client, path):
        return {"data": [{"id": "other"}]}

    monkeypatch.setattr(preflight.Client, "get", models)
    assert "model was 'fake', is 'other'" in resume()


@row("C17", "resumed with other settings of the plugin", "goes on", "refused by name")
def test_settings_of_the_plugin_are_compared(started):
    server, _, resume = started
    server.plugin = {"server": {"max_k": 8}}
    assert "server.soft_thinking.max_k was None, is 8" in resume()


@row("C17", "resumed with another version of the grader", "goes on", "refused by name")
def test_another_grader_is_refused(started, monkeypatch):
    _, _, resume = started
    versions = preflight.provenance.versions() | {"math-verify": "0.0"}
    monkeypatch.setattr(preflight.provenance, "versions", lambda: versions)
    assert "grader.math-verify was" in resume()


def test_no_key_is_written(tmp_path):
    names = ("api_key", "launch_command", "ssl_keyfile_password", "watermark_key", "admin_api_key")
    with serving() as server:
        server.info |= dict.fromkeys(names, "--api-key sesame")
        run.execute(small(server.base_url), tmp_path)
    assert b"sesame" not in (tmp_path / "run.json").read_bytes()
    assert info(tmp_path)["identity"]["server"] == {"model_path": "fake", "dtype": "float32"}


def test_a_run_of_an_older_version_can_be_resumed(started, tmp_path):
    _, _, resume = started
    path = tmp_path / "out" / "run.json"
    old = orjson.loads(path.read_bytes())
    del old["identity"]
    path.write_bytes(orjson.dumps(old))
    lines = samples(tmp_path / "out")
    for line in lines:
        del line["mixed_share"], line["mean_concept_size"]
    path.with_name("samples.jsonl").write_bytes(b"".join(orjson.dumps(x) + b"\n" for x in lines))
    assert resume() == ""


CONTEXT = {"message": "Requested token count exceeds the model's maximum context length"}


@row("C17", "max_tokens above the context", "complete, status 0, accuracy 0.0", "nothing is run")
@pytest.mark.parametrize("refused", [(), ("soft",), ("discrete", "soft", "stop")])
def test_a_run_whose_requests_cannot_have_their_length_does_not_start(tmp_path, refused):
    """The short trial passes; one of the run's length does not."""
    asked = {m["name"]: m.get("soft_thinking", False) for m in METHODS}
    bad = [asked[name] for name in refused]

    def respond(request):
        long = request["max_tokens"] > preflight.TRIAL_TOKENS
        return (400, CONTEXT) if long and soft(request) in bad else solve(request)

    with serving(respond) as server:
        config = small(server.base_url)
        if not refused:
            assert run.execute(config, tmp_path).complete
            assert {r["max_tokens"] for r in server.streamed} == {256}
            return
        with pytest.raises(ValueError, match="nothing was run") as error:
            run.execute(config, tmp_path)
    for name in asked:
        said = f"methods.{name}: HTTP 400: {CONTEXT['message']}" in str(error.value)
        assert said == (name in refused)
    assert samples(tmp_path) == []


def test_the_trial_asks_the_longest_question(tmp_path):
    data = tmp_path / "data.jsonl"
    rows = [{"question": f"What is 1+{n}?", "answer": "2"} for n in ("1", "111111", "11")]
    data.write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in rows))
    with serving() as server:
        run.execute(small(server.base_url, data=str(data), questions=None), tmp_path / "out")
        asked = {r["messages"][0]["content"] for r in server.streamed}
    assert asked == {"What is 1+111111?"}


@row("C17", "a method of which every request fails", "accuracy 0.0, status 0", "an error, status 1")
def test_a_method_that_only_failed_is_an_error(tmp_path, capsys):
    def respond(request):
        bad = not probe(request) and soft(request) == {"max_topk": 10}
        return (500, {"message": "broken"}) if bad else solve(request)

    file = tmp_path / "run.yaml"
    with serving(respond) as server:
        config = small(server.base_url).to_dict() | {"server": {"base_url": server.base_url}}
        file.write_bytes(orjson.dumps(config))
        with pytest.raises(SystemExit) as end:
            cli.main(["run", str(file), "--out", str(tmp_path / "out")])
    shown = capsys.readouterr()
    assert end.value.code == 1 and "error: soft has no score (HTTP 500: broken)" in shown.err
    assert "soft: 20/20  20 failed" in shown.err
    text = (tmp_path / "out" / "report.md").read_text()
    assert "ERROR: every request of soft on arith failed (HTTP 500: broken)" in text
    assert "| soft | ERROR: all requests failed |" in text


REFUSED = "every COCONUT-TF request is refused"


@pytest.mark.parametrize(
    "name",
    [case("C17", f"paper:{name}", REFUSED if name in paper.NAMES[-2:] else "runs", "runs", name)
     for name in paper.NAMES],
)  # fmt: skip
def test_every_run_of_the_paper_fits_the_limits_of_the_server_that_it_starts(name):
    config = runfile.from_dict(tomllib.loads(paper.text(name)))
    env: dict[str, str] = {}
    launch_server.parse(["--model-path", config.server.model, *config.server.args], env)
    limits = settings.from_env(env)
    (model,) = [m for m in paper.MODELS.values() if m.path == config.server.model]
    keeps = 0
    for method in config.methods:
        if method.soft_thinking is not None:
            found = resolve.resolve(
                dict(method.soft_thinking),
                request=Sampling(0.6, 0.95, 30, 0.001),
                default=limits.default,
                max_k=limits.max_k,
            )
            keeps += found.method.feeds_offset
            size = config.sampling.max_tokens * model.hidden_size * paper.BYTES
            if found.method.feeds_offset:
                assert size <= limits.max_vector_mb * 2**20
                assert size * config.concurrency <= limits.max_vector_mb_total * 2**20
    assert keeps == name.startswith("ablation")


def test_servers_that_hide_their_settings(tmp_path):
    """A gateway may answer neither /server_info nor /tokenize."""
    with serving(lambda request: completion("Answer: 1", reasoning="")) as server:
        server.hidden = {"/server_info", "/tokenize", "/detokenize"}
        one = [{"name": "discrete"}]
        assert run.execute(small(server.base_url, methods=one), tmp_path).statuses == {"ok": 20}
    assert info(tmp_path)["prompt_opens_thought"] is None


def test_settings_that_matter_are_not_taken_for_addresses_or_logs():
    for name in ("model_path", "context_length", "dp_size", "reasoning_parser", "tokenizer_path"):
        assert not facts._NOT_COMPARED.fullmatch(name), name
