import pytest
from sglang_soft_evals.record import Key
from sglang_soft_evals.records import Records
from sglang_soft_evals.rundir import read_line, read_records, whole_size

from tests.evals.runs import row, samples


def filled(path, *statuses: str) -> None:
    records = Records(path)
    for sample, status in enumerate(statuses):
        records.append(row(sample=sample, status=status))
    records.close()


def test_records_come_back_as_they_went(tmp_path):
    path = tmp_path / "samples.jsonl"
    filled(path, "ok", "ok", "ok")
    assert samples(tmp_path) == [row(sample=sample) for sample in range(3)]
    records = Records(path)
    assert records.done.keys() == {Key("b", "m", "q", sample) for sample in range(3)}
    new = records.append(row(sample=3, text="four"))
    for record in (*read_records(path), new):
        assert read_line(tmp_path, record)["sample"] == record.sample
    records.close()


def test_a_line_torn_at_any_byte_is_cut_off_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda fd: None)  # slow, and no power fails here
    path = tmp_path / "samples.jsonl"
    filled(path, "ok")
    size = path.stat().st_size
    filled_again = Records(path)
    filled_again.append(row(sample=1))
    filled_again.close()
    whole = path.read_bytes()
    for cut in range(size, len(whole)):
        path.write_bytes(whole[:cut])
        again = Records(path)
        assert again.torn_bytes == cut - size
        assert path.read_bytes() == whole[:size]
        again.append(row(sample=1))
        again.close()
        assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"x", b"\n", b"a\nb", b"a\n" + b"b" * 200_000])
def test_the_last_line_end_is_found_in_files_of_any_size(tmp_path, content):
    path = tmp_path / "lines"
    path.write_bytes(content)
    assert whole_size(path) == content.rfind(b"\n") + 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"method": "m"', "line 2: not a record"),
        (b'{"method": "m"}', r"line 2: not a record of this version: the keys \['benchmark'"),
    ],
)
def test_a_line_that_is_no_record_is_an_error(tmp_path, line, message):
    path = tmp_path / "samples.jsonl"
    filled(path, "ok")
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(ValueError, match=message):
        Records(path)


def test_a_repeated_sample_is_an_error(tmp_path):
    path = tmp_path / "samples.jsonl"
    filled(path, "ok")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ValueError, match="line 2: .*sample=0.* occurs twice"):
        Records(path)


def test_two_runs_cannot_share_a_file(tmp_path):
    path = tmp_path / "samples.jsonl"
    first = Records(path)
    with pytest.raises(ValueError, match="belongs to a run that is still going"):
        Records(path)
    first.close()
    Records(path).close()


def test_failed_records_are_forgotten_only_if_asked(tmp_path):
    path = tmp_path / "samples.jsonl"
    filled(path, "ok", "failed", "truncated")
    kept = Records(path)
    assert kept.count() == {"ok": 1, "failed": 1, "truncated": 1}
    kept.close()
    retried = Records(path, retry_failed=True)
    assert [key.sample for key in retried.done] == [0, 2]
    with pytest.raises(ValueError, match="still going"):  # the rewritten file is locked too
        Records(path)
    retried.append(row(sample=1))
    retried.close()
    assert [line["sample"] for line in samples(tmp_path)] == [0, 2, 1]
    for record in read_records(path):
        assert read_line(tmp_path, record)["sample"] == record.sample
