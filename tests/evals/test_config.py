import copy
from pathlib import Path

import pytest
from sglang_soft_evals import benchmarks, paper, runfile

from tests.evals.runs import raw, small

RUNS = Path(__file__).parents[2] / "evals" / "runs"


def changed(path: str, value):
    values = copy.deepcopy(raw("http://h:1"))
    target, *rest = [values, *path.split(".")]
    for name in rest[:-1]:
        target = target[int(name) if name.isdigit() else name]
    if value is None:
        del target[rest[-1]]
    else:
        target[rest[-1]] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("benchmark", "mmlu", "benchmark must be one of arith"),
        ("benchmark", None, "benchmark is missing."),
        ("sample", 3, "unknown key sample; known keys: benchmark, server"),
        ("samples", 0, "samples must be an integer >= 1; got 0"),
        ("samples", True, "samples must be an integer >= 1; got True"),
        ("seed", -1, "seed must be an integer >= 0; got -1"),
        ("concurrency", 2.5, "concurrency must be an integer >= 1; got 2.5"),
        ("prompt", "nope", "prompt must be one of plain"),
        ("grader", "nope", "grader must be one of arith"),
        ("grader", ["arith"], "grader must be one of arith"),
        ("sampling.top_p", 0, "sampling.top_p must be in (0, 1]; got 0"),
        ("sampling.top_k", 0, "sampling.top_k must be -1 (off) or >= 1; got 0"),
        ("sampling.max_tokens", "9", "sampling.max_tokens must be an integer >= 1; got '9'"),
        ("sampling.best_of", 2, "unknown key sampling.best_of; known keys: temperature"),
        (
            "server.base_url",
            "ftp://h",
            "server.base_url must be an address such as http://host:port",
        ),
        ("server.base_url", None, "server.model must be set if there is no base_url"),
        ("methods", [], "methods must be at least one"),
        ("methods", "x", "methods must be a list of tables"),
        ("methods.0.name", "soft", "methods.name must be different for each method; got 'soft'"),
        ("methods.0.nome", "x", "unknown key methods.nome"),
        ("methods.1.soft_thinking", 3, "methods.soft.soft_thinking must be a table; got 3"),
        ("judge", {"model": "m"}, "judge.base_url is missing."),
        ("judge", {"model": "m", "base_url": "a b"}, "judge.base_url must be an address such as"),
        ("benchmark", ["arith"], "benchmark must be a text; got ['arith']"),
        ("data", 3, "data must be a text; got 3"),
        ("server", {"model": "m", "args": "--tp 2"}, "server.args must be a list of texts"),
        ("server", {"model": "m", "args": [2]}, "server.args must be a list of texts; got [2]"),
    ],
)
def test_bad_values_are_named(path, value, message):
    with pytest.raises(ValueError) as error:
        runfile.from_dict(changed(path, value))
    assert message in str(error.value)


def test_errors_of_a_file_name_the_file(tmp_path):
    file = tmp_path / "a.toml"
    with pytest.raises(ValueError, match=r"there is no run file .*a\.toml"):
        runfile.read(file)
    file.write_text("benchmark = ")
    with pytest.raises(ValueError, match=r"a\.toml cannot be read"):
        runfile.read(file)
    file.write_text('benchmark = "arith"\nmethods = [{name = "x"}]')
    with pytest.raises(ValueError, match=r"a\.toml: server is missing"):
        runfile.read(file)


def test_yaml_says_the_same_as_toml(tmp_path):
    toml, yaml = tmp_path / "a.toml", tmp_path / "a.yaml"
    toml.write_text(
        'benchmark = "arith"\nserver = {model = "bundled"}\n'
        'methods = [{name = "x", soft_thinking = {a = 1}}]'
    )
    yaml.write_text(
        "benchmark: arith\nserver: {model: bundled}\nmethods: [{name: x, soft_thinking: {a: 1}}]"
    )
    assert runfile.read(toml) == runfile.read(yaml)


def test_differences_name_the_key_and_both_values():
    old, new = small(), small("http://elsewhere:2", sampling={"temperature": 1.0})
    found = runfile.differences(old.to_dict(), new.to_dict())
    assert "sampling.temperature was 0.6, is 1.0" in found
    assert not any("base_url" in line for line in found)
    assert runfile.differences(old.to_dict(), old.to_dict()) == []


def test_every_run_has_the_control():
    """Sampled CoT with the same Cold Stop as Soft Thinking, and plain CoT."""
    names = [*(f"paper:{name}" for name in paper.NAMES), RUNS / "arith.toml"]
    assert len(names) == 1 + 3 * 7 + 2
    for name in names:
        given = [m.soft_thinking for m in runfile.read(name).methods]
        stops = [params for params in given if params and params.get("cold_stop_entropy")]
        assert {params["method"] for params in stops} == {"cot", "soft"}, name
        assert len({(p["cold_stop_entropy"], p["cold_stop_steps"]) for p in stops}) == 1, name
        assert None in given


def test_a_run_of_the_paper_is_what_its_table_says():
    run = runfile.read("paper:r1-distill-llama-70b/gpqa_diamond")
    assert run.server.model == "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"
    assert (run.benchmark, run.samples, run.sampling.max_tokens) == ("gpqa_diamond", 8, 32768)
    cold_stop = {"cold_stop_entropy": 0.01, "cold_stop_steps": 256}
    greedy = {"method": "cot", "temperature": 0.0, "answer_temperature": 0.0}
    assert {m.name: m.soft_thinking for m in run.methods} == {
        "CoT": None,
        "CoT, greedy": greedy,
        "CoT + Cold Stop": {"method": "cot", **cold_stop},
        "Soft Thinking": {"method": "soft", "max_topk": 10, **cold_stop},
    }
    ablation = runfile.read("paper:ablation/aime2024")
    assert ablation.server.model == "Qwen/QwQ-32B" and ablation.samples == 32
    assert [(m.soft_thinking or {}).get("method") for m in ablation.methods] == [
        *(None, "cot", "coconut_tf", "average", "soft", "soft")
    ]
    with pytest.raises(ValueError, match="must be one of qwq-32b/math500, .*; got 'qwq/aime'"):
        runfile.read("paper:qwq/aime")


def test_the_written_runs_of_the_paper_read_the_same(tmp_path):
    paths = paper.write(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in paths] == [f"{n}.toml" for n in paper.NAMES]
    for name, path in zip(paper.NAMES, paths):
        assert runfile.read(path) == runfile.read(f"paper:{name}")


def test_runs_of_the_paper_do_not_share_a_directory():
    assert len({runfile.name_of(f"paper:{name}") for name in paper.NAMES}) == len(paper.NAMES)
    assert runfile.name_of("runs/arith.toml") == "arith"


@pytest.mark.parametrize(
    "file",
    [RUNS.parents[1] / "docs" / "evals.md", RUNS.parent / "sglang_soft_evals" / "config.py"],
)
def test_the_documented_run_is_one(tmp_path, file):
    text = file.read_text()
    begin, end = ("```toml", "```") if file.suffix == ".md" else ("methods.\n", '"""')
    (tmp_path / "documented.toml").write_text(text.split(begin, 1)[1].split(end, 1)[0])
    assert len(runfile.read(tmp_path / "documented.toml").methods) == 2


def test_arith_compares_every_method_on_enough_questions():
    settings = runfile.read(RUNS / "arith.toml")
    assert (settings.questions or benchmarks.get("arith").questions) >= 500
    methods = {(m.soft_thinking or {"method": None})["method"] for m in settings.methods}
    names = "cot soft soft_gumbel soft_dirichlet moi multiplex swireasoning selar thinkrouter"
    assert methods == {None, *names.split(), "average", "coconut_tf", "soft_noise"}
