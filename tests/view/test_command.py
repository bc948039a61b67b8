"""`sglang-soft trace view`."""

import re

import orjson
import pytest

from sglang_soft.server import cli
from sglang_soft.trace.check import TOKENIZER_PROBE
from sglang_soft.view import sources
from tests.view.browsing import trace_of

WORDS = "Right: 43*30 is 1290"


@pytest.fixture(scope="module")
def tokenizer():
    return sources.load(sources.BUNDLED)


@pytest.fixture
def trace(tokenizer):
    """A thought in the bundled model's tokens."""
    ids = tokenizer.tokenizer.encode(WORDS, add_special_tokens=False)
    probe = tokenizer.tokenizer.encode(TOKENIZER_PROBE, add_special_tokens=True)
    rows = [[(token, 0.75), (token + 1, 0.25)] for token in ids[:-1]] + [[(5, 1.0)]]
    return trace_of(
        rows, output_ids=[*ids[:-1], 5, ids[-1]], thinking_finish_reason="stop_token",
        tokenizer={"probe": probe}, model={"vocab_size": 128},
    )  # fmt: skip


def written(path) -> dict:
    found = re.search(r'id="trace">([^<]*)<', path.read_text())
    assert found
    return orjson.loads(found[1])


def run(*args) -> None:
    cli.main(["trace", "view", *map(str, args)])


def test_npz_json_and_answers_of_both_endpoints(trace, tmp_path, capsys):
    soft = {"trace": trace.to_json(), "method": "soft", "thinking_tokens": 9}
    chat = {"choices": [{"message": {"content": "1462"}, "meta_info": {"soft_thinking": soft}}]}
    files = {
        "a.json": trace.to_json(),
        "b.json": chat,
        "c.json": {"text": "all", "meta_info": {"soft_thinking": soft}},
        "d.json": [{"text": "all", "meta_info": {"soft_thinking": soft}}],
    }
    trace.save(tmp_path / "e.npz")
    for name, value in files.items():
        (tmp_path / name).write_bytes(orjson.dumps(value))
    for name in [*files, "e.npz"]:
        out = tmp_path / "page.html"
        run(tmp_path / name, "--out", out)
        (shown,) = written(out)["traces"]
        assert shown["n"] == len(trace.steps) and shown["name"] == name[0]
        assert shown["answer"] == ("1462" if name == "b.json" else WORDS[-1])
        assert (shown["summary"] is None) == (name[0] in "ae")
    assert f"{len(trace.steps)} steps" in capsys.readouterr().out


def test_the_bundled_tokenizer_is_found_by_its_fingerprint(trace, tmp_path, capsys):
    trace.save(tmp_path / "t.npz")
    run(tmp_path / "t.npz", "--out", tmp_path / "t.html")
    texts = written(tmp_path / "t.html")["texts"]
    assert "".join(texts[str(token)] for token in trace.output_ids.tolist()[:3]) == "Right: 4"
    assert "note" not in capsys.readouterr().err


def test_without_a_tokenizer_numbers_are_shown_and_it_says_so(trace, tmp_path, capsys):
    trace.copy(tokenizer={"probe": [1, 2, 3]}).save(tmp_path / "t.npz")
    run(tmp_path / "t.npz", "--out", tmp_path / "t.html")
    assert written(tmp_path / "t.html")["texts"] == {}
    assert "--tokenizer" in capsys.readouterr().err


def test_another_tokenizer_is_refused(trace, tmp_path, capsys):
    trace.copy(tokenizer={"probe": [1, 2, 3]}).save(tmp_path / "t.npz")
    with pytest.raises(SystemExit) as ended:
        run(tmp_path / "t.npz", "--tokenizer", sources.BUNDLED)
    assert ended.value.code == 2 and "other ids" in capsys.readouterr().err


def test_two_are_compared_if_they_are_of_one_model(trace, tmp_path, capsys):
    trace.save(tmp_path / "a.npz")
    trace.copy(model={"vocab_size": 99}).save(tmp_path / "b.npz")
    run(tmp_path / "a.npz", tmp_path / "a.npz", "--name", "soft", "--name", "cot", "--out",
        tmp_path / "x.html", "--no-trace")  # fmt: skip
    both = written(tmp_path / "x.html")["traces"]
    assert [one["name"] for one in both] == ["soft", "cot"] and "trace" not in both[0]
    with pytest.raises(SystemExit):
        run(tmp_path / "a.npz", tmp_path / "b.npz")
    assert "another model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"{", "neither npz nor JSON"), (b"1", "holds no trace"), (b"{}", "lacks format"),
     (b'{"choices": []}', "holds no trace|lacks|must be")],
)  # fmt: skip
def test_what_holds_no_trace_is_an_error(content, says, tmp_path, capsys):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        run(tmp_path / "x.json")
    assert ended.value.code == 2
    assert re.search(says, capsys.readouterr().err)


def test_more_names_than_files(trace, tmp_path, capsys):
    trace.save(tmp_path / "a.npz")
    with pytest.raises(SystemExit) as ended:
        run(tmp_path / "a.npz", "--name", "x", "--name", "y")
    assert ended.value.code == 2 and "--name is given 2 times" in capsys.readouterr().err


def test_a_missing_file_and_no_command(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path / "none.npz")
    assert "none.npz" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        cli.main(["trace"])
    assert ended.value.code == 2 and "trace view" in capsys.readouterr().out
