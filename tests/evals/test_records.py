import pytest
from sglang_soft_evals.records import Key, Records, key, read


def record(sample: int, status: str = "ok", **more):
    return {
        "method": "m",
        "question": "q",
        "sample": sample,
        "status": status,
        "text": "é\n",
        **more,
    }


def test_records_come_back_as_they_went(tmp_path):
    path = tmp_path / "samples.jsonl"
    records = Records(path)
    for sample in range(3):
        records.append(record(sample))
    records.close()
    assert list(read(path)) == [record(sample) for sample in range(3)]
    assert Records(path).done.keys() == {Key("m", "q", sample) for sample in range(3)}


def test_a_line_torn_at_any_byte_is_cut_off_and_nothing_else(tmp_path):
    path = tmp_path / "samples.jsonl"
    records = Records(path)
    records.append(record(0))
    size = path.stat().st_size
    records.append(record(1))
    records.close()
    whole = path.read_bytes()
    for cut in range(size, len(whole)):
        path.write_bytes(whole[:cut])
        again = Records(path)
        assert again.torn_bytes == cut - size
        assert path.read_bytes() == whole[:size]
        again.append(record(1))
        again.close()
        assert path.read_bytes() == whole


def test_a_line_that_is_no_record_is_an_error(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"method": "m"\n{}\n')
    with pytest.raises(ValueError, match="line 1 is not a record"):
        Records(path)


def test_a_repeated_sample_is_an_error(tmp_path):
    path = tmp_path / "samples.jsonl"
    records = Records(path)
    records.append(record(0))
    records.close()
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ValueError, match="sample=0.* occurs twice"):
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
    records = Records(path)
    for sample, status in enumerate(("ok", "failed", "truncated")):
        records.append(record(sample, status))
    records.close()
    kept = Records(path)
    assert kept.count() == {"ok": 1, "failed": 1, "truncated": 1}
    kept.close()
    retried = Records(path, retry_failed=True)
    assert [k.sample for k in retried.done] == [0, 2]
    with pytest.raises(ValueError, match="still going"):  # the rewritten file is locked too
        Records(path)
    retried.append(record(1))
    retried.close()
    assert [key(r).sample for r in read(path)] == [0, 2, 1]
