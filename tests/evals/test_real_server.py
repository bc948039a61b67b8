"""Runs against SGLang with the bundled model: what the fake server cannot show."""

import pytest
from sglang_soft_evals import report, run, sample

from tests.evals.runs import SAMPLING, info, samples, small
from tests.issue_table import row

COT = {"name": "cot", "soft_thinking": {"method": "cot"}}
METHODS = [{"name": "discrete"}, COT, {"name": "soft", "soft_thinking": {}}]
GREEDY = SAMPLING | {"temperature": 0.0}
UNEQUAL = ("latency_s", "mean_entropy")
"""Times, and a float whose last bits depend on the rest of the batch."""
CUT = 12
"""Tokens: every thought of the toy is longer."""


@pytest.fixture
def no_parser(monkeypatch):
    """Answers as of a server without a reasoning parser."""
    made = sample.body

    def body(*args):
        return made(*args) | {"separate_reasoning": False}

    for module in ("asking", "preflight"):
        monkeypatch.setattr(f"sglang_soft_evals.{module}.body", body)


def execute(server, folder, **changes):
    changes = {"methods": METHODS, "questions": 3, "samples": 1, "sampling": GREEDY} | changes
    result = run.execute(small(server, **changes), folder)
    assert result.complete and not result.errors
    return samples(folder)


def test_methods_that_decode_alike_are_counted_alike(server, tmp_path):
    """Greedy, `cot` feeds what a discrete request feeds: one is counted by the plugin, the other
    by its tokens."""
    rows = execute(server, tmp_path)
    counts: dict[str, set] = {}
    names = ("thinking_tokens", "answer_tokens", "completion_tokens", "text", "reasoning")
    for one in rows:
        counts.setdefault(one["question"], set()).add(tuple(one[name] for name in names))
        assert one["thinking_tokens"] > CUT and one["thinking_finish_reason"] == "stop_token"
        assert one["mixed_share"] == (None if one["method"] == "discrete" else 0.0)
    assert all(len(found) == 1 for found in counts.values()), counts
    written = info(tmp_path)
    assert written["prompt_opens_thought"] is True
    identity = written["identity"]
    assert identity["model"] == identity["server"]["model_path"] == "bundled"
    assert identity["server"]["version"] and identity["server"]["soft_thinking.max_k"] == 32


@row(
    "C16",
    "SGLang without a reasoning parser",
    "the thought is graded, 0 thinking tokens",
    "as with",
)
def test_a_server_without_a_parser_gives_the_same_records(server, tmp_path, no_parser, monkeypatch):
    without = execute(server, tmp_path / "without")
    monkeypatch.undo()
    with_parser = execute(server, tmp_path / "with")

    def comparable(rows):
        found = [{k: v for k, v in one.items() if k not in UNEQUAL} for one in rows]
        return sorted(found, key=lambda one: (one["method"], one["question"]))

    a, b = comparable(without), comparable(with_parser)
    for one, other in zip(a, b, strict=True):
        assert one.pop("reasoning").strip() == other.pop("reasoning").strip()
        assert one.pop("text").strip() == other.pop("text").strip()
        # The two runs have other batches, so their last bits may differ.
        entropy = pytest.approx(other.pop("final_entropy"), abs=1e-4)
        assert one.pop("final_entropy") == entropy
    assert a == b


@row("C16", "the same, thought cut by max_tokens", "graded as the answer", "no answer")
def test_a_thought_that_is_cut_without_a_parser(server, tmp_path, no_parser):
    for one in execute(server, tmp_path, sampling=GREEDY | {"max_tokens": CUT}):
        assert (one["status"], one["text"], one["answer"]) == ("truncated", "", None)
        assert (one["thinking_tokens"], one["answer_tokens"]) == (CUT, 0)
        assert one["reasoning"] and one["thinking_finish_reason"] == "length"


@row("C17", "SGLang, max_tokens above the context", "all samples fail, status 0", "nothing is run")
def test_a_length_above_the_context_is_refused_by_sglang(server, tmp_path):
    with pytest.raises(ValueError, match="maximum context length of 1024 tokens") as error:
        execute(server, tmp_path, sampling=GREEDY | {"max_tokens": 5000})
    assert str(error.value).count("methods.") == len(METHODS)


def test_answers_of_one_thought_count_it_once(server, tmp_path):
    """Greedy, both methods say the same, and the forked one thinks once for four answers."""
    alone, soft = {"name": "alone", "soft_thinking": {"method": "cot"}}, {"max_topk": 10}
    methods = [alone, alone | {"name": "forked", "answers_per_thought": 4}]
    methods.append({"name": "soft", "soft_thinking": soft, "answers_per_thought": 4})
    rows = execute(server, tmp_path, methods=methods, samples=4)
    by_sample = {(r["method"], r["question"], r["sample"]): r for r in rows}
    assert len(by_sample) == 3 * 3 * 4
    for (method, question, index), one in by_sample.items():
        other = by_sample["alone", question, index]
        assert one["status"] == "ok" and one["thinking_finish_reason"] == "stop_token"
        if method != "forked":
            continue
        assert (one["text"], one["answer"]) == (other["text"].strip(), other["answer"])
        thought = other["thinking_tokens"] > CUT and other["thinking_tokens"]
        assert one["answer_tokens"] == other["answer_tokens"]
        assert one["thinking_tokens"] == (thought if index == 0 else 0)
        assert one["completion_tokens"] == other["answer_tokens"] + (
            thought + 1 if index == 0 else 0
        )
    assert {r["thinking_method"] for r in rows} == {"cot", "soft"}
    page = report.write(tmp_path)[0].read_text()
    assert "| soft | 1 x 4 |" in page and "| forked | 1 x 4 |" in page
