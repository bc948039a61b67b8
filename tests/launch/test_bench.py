"""The benchmarks as a machine without a GPU can check them: the dry run, and everything but the
engine."""

import json
import signal
import time
from pathlib import Path

import pytest

from launch import ROOT
from launch.bench import page, plan, turns
from launch.bench.methods import method_names
from launch.bench.shapes import SHAPES
from tests.launch.stand_in import bench, run, started

pytestmark = pytest.mark.slow

GPU = ["--model", "bundled", "--model", "qwen3-8b", "--device", "cpu", "--small"]
CPU = ["--requests", "3", "--tokens", "4", "--discrete", "2", "--rounds", "2"]


def rows(text: str, first: str) -> list[list[str]]:
    """Cells of the table rows that begin with `first`."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def figure(cell: str) -> float:
    """Of a busy machine: any number will do."""
    return float(cell.split()[0])


def test_gpu(tmp_path):
    """Requests, turns, the engine's process, the tables, the file."""
    out = tmp_path / "gpu.md"
    status, text, errors = run(tmp_path, "gpu", *GPU, "--out", str(out))
    assert status == 0, errors
    last = out.read_text()
    assert len(rows(last, "1")) == len(rows(last, "3")) == 2
    for batch, soft, one, *others in rows(last, "1") + rows(last, "3"):
        assert all(figure(cell) for cell in [soft, *others[:2], others[2], others[4]])
        assert bool(one) == bool(others[3]) == (batch == "3")
    assert len(rows(last, "soft_gumbel")) == 1 and "every method, batch 3" in last
    assert text.rindex("| 3 |") > text.index("| 3 |"), "tables are printed as they come"


def test_gpu_dry_run(tmp_path):
    status, text, errors = run(tmp_path, "gpu", "--dry-run", "--attention-backend", "fa3")
    assert status == 0, errors
    assert "--load-format=dummy" in text and "--attention-backend=fa3" in text
    assert "--disable-prefill-cuda-graph" in text and not started(tmp_path)


def test_cpu(tmp_path):
    status, text, errors = run(tmp_path, "cpu", *CPU)
    assert status == 0, errors
    assert len(started(tmp_path)) == 2 + 2 + 2  # for each attention backend, and both of them
    assert len(rows(text, "soft")) == 3  # throughput twice, methods once
    for name in ("discrete without plugin", "one is soft", "all are discrete", *method_names()):
        assert all(figure(row[1]) for row in rows(text, name)) and rows(text, name), name
    for ratio in ("soft / discrete", "one is soft / all are discrete", "soft_cpu / torch_native"):
        assert f"{ratio}: " in text


def fake_checkout(folder: Path) -> Path:
    (folder / "sglang_soft").mkdir(parents=True)
    (folder / "sglang_soft" / "__init__.py").write_text("")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "sglang-soft"\n[project.entry-points."sglang.srt.plugins"]\n'
        'sglang_soft = "of_another_version:register"\n'
    )
    return folder


def test_cpu_against_another_checkout(tmp_path):
    other = fake_checkout(tmp_path / "before")
    args = [*CPU, "--against", str(other), "--attention-backend", "soft_cpu"]
    status, text, errors = run(tmp_path, "cpu", *args)
    assert status == 0, errors
    engines = sorted(line[1:] for line in started(tmp_path))
    assert engines == sorted(
        [
            [str(ROOT / "sglang_soft" / "__init__.py"), "sglang_soft.plugin:register"],
            [str(other / "sglang_soft" / "__init__.py"), "of_another_version:register"],
        ]
    )
    assert f"soft / soft, {other}: " in text and f"all are discrete, {other}" in text
    assert "without plugin" not in text
    for name in method_names():
        assert len(rows(text, name)[-1]) == 5, "every method of both"


def test_a_checkout_that_is_none_is_named(tmp_path):
    status, _, errors = run(tmp_path, "cpu", "--against", str(tmp_path))
    assert status == 2 and f"{tmp_path} is no checkout" in errors


def test_another_package_than_the_checkouts_is_no_figure(tmp_path):
    other = fake_checkout(tmp_path / "before")
    (other / "sglang_soft" / "__init__.py").unlink()
    (other / "sglang_soft").rmdir()
    status, _, errors = run(tmp_path, "cpu", "--against", str(other))
    assert status == 1 and f"not in {other}" in errors


def test_an_engine_that_does_not_start_shows_its_log(tmp_path):
    status, _, errors = run(tmp_path, "gpu", *GPU, BROKEN="1")
    assert status == 1 and "no such device" in errors and "exit status 1" in errors


def ended(pid: str) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return not path.exists() or path.read_text().rpartition(")")[2].split()[0] == "Z"


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_engine_that_hangs_is_ended_at_the_time_limit(tmp_path):
    start = time.monotonic()
    status, _, errors = run(tmp_path, "cpu", *CPU, "--time-limit", "8", HANG="1")
    assert status == 1 and "did not reply in time" in errors
    assert time.monotonic() - start < 30
    wait_for(lambda: all(ended(pid) for pid, *_ in started(tmp_path)))
    assert len(started(tmp_path)) == 2


def test_a_benchmark_that_is_ended_ends_its_engines(tmp_path):
    with bench(tmp_path, "cpu", *CPU, HANG="1") as process:
        wait_for(lambda: len(started(tmp_path)) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1
        wait_for(lambda: all(ended(pid) for pid, *_ in started(tmp_path)))


def test_shapes_have_the_size_of_their_models(tmp_path):
    billions = {name: shape.weight_gib * 2**30 / 2 / 1e9 for name, shape in SHAPES.items()}
    assert billions == {
        "qwen3-8b": pytest.approx(8.19, abs=0.01),
        "qwq-32b": pytest.approx(32.76, abs=0.01),
    }
    config = json.loads((SHAPES["qwq-32b"].write(tmp_path) / "config.json").read_bytes())
    assert config["architectures"] == ["Qwen2ForCausalLM"] and "name" not in config


@pytest.mark.parametrize(
    ("mib", "model", "batches", "together"),
    [(143_771, "qwq-32b", [1, 8, 64, 256], False), (143_771, "qwen3-8b", [1, 8, 64, 256], True),
     (81_559, "qwq-32b", [1, 8, 64], False), (24_000, "qwq-32b", [], False)],
)  # fmt: skip
def test_plan_leaves_out_what_does_not_fit(monkeypatch, mib, model, batches, together):
    monkeypatch.setattr(plan, "gpus", lambda: [("a GPU", mib, "1")])
    made = plan.make_plan(model, [1, 8, 64, 256], 256, "cuda")
    assert (made.batches, made.together) == (batches, together)
    assert sorted(made.batches + made.left_out) == [1, 8, 64, 256]


def test_turns_and_ratios():
    calls = []
    runs = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "abc"}
    measured = turns.take_turns(runs, rounds=3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert measured["a"] == [4.0, 9.0, 11.0]
    assert turns.paired_ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]).median == 2.0


def test_rounds_end_with_the_time():
    run = {"a": lambda: time.sleep(0.2) or 1.0}
    assert 2 <= len(turns.take_turns(run, 50, turns.Deadline(1.5))["a"]) < 8
    with pytest.raises(RuntimeError, match="time limit"):
        turns.take_turns(run, 50, turns.Deadline(0.3))


def test_sections_are_replaced(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("head\n<!-- gpu: begin -->\nold\n<!-- gpu: end -->\ntail\n")
    page.write_section(path, "gpu", "new")
    assert path.read_text() == "head\n<!-- gpu: begin -->\nnew\n<!-- gpu: end -->\ntail\n"
    with pytest.raises(ValueError, match="no section"):
        page.write_section(path, "cpu", "new")
    page.write_section(tmp_path / "fresh.md", "gpu", "one")
    page.write_section(tmp_path / "fresh.md", "gpu", "two")
    assert "two" in (tmp_path / "fresh.md").read_text()
    assert "one" not in (tmp_path / "fresh.md").read_text()
