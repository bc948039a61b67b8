"""Traces that nobody should be able to harm a server with: one change to a good one each."""

import base64
import copy
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sglang_soft.trace import Trace

Json = dict[str, Any]
NAN = float("nan")


class Good(NamedTuple):
    """What the server made: a thought that was stopped, one that ended, one with embedding offsets,
    and one that never began. JSON."""

    open: Json
    ended: Json
    offsets: Json
    plain: Json


class Bad(NamedTuple):
    name: str
    make: Callable[[Good], Json]
    """A request's `soft_thinking`; `_` has what the body says besides."""
    words: tuple[str, ...]
    """In the error."""
    status: int = 400


def field(name: str, value: Any, *words: str, of: str = "open") -> Bad:
    """One field of the trace (`a.b`: of its object `a`) has this value, or what it makes of it."""

    def make(good: Good) -> Json:
        trace = copy.deepcopy(getattr(good, of))
        *path, last = name.split(".")
        inner = trace
        for key in path:
            inner = inner.setdefault(key, {})
        inner[last] = value(inner.get(last)) if callable(value) else value
        return {"trace": trace}

    shown = getattr(value, "__name__", "") if callable(value) else repr(value)
    said = words or (name.split(".")[0],)
    return Bad(f"{name} {shown.strip('<>'):.40} {said[-1]:.20}", make, said)


def step(name: str, row: list, *words: str) -> Bad:
    """The third step has this row of weights (and ids that go with it), or of ids."""

    def make(good: Good) -> Json:
        trace = copy.deepcopy(good.open)
        trace[name][2] = row
        if name == "weights":
            trace["ids"][2] = list(range(20, 20 + len(row)))
        return {"trace": trace}

    said = words or (f"{name}[2]",)
    return Bad(f"{name}[2] {row!r:.40} {said[-1]:.20}", make, said)


def request(name: str, make: Callable[[Good], Json], *words: str, status: int = 400) -> Bad:
    return Bad(name, make, words, status)


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def many(count: int) -> Callable[[Any], Any]:
    def steps(rows: list) -> list:
        return [rows[0]] * count

    return steps


# Binary forms


def binary(trace: Json, change: Callable[[Json], None], compressed: bool = False) -> str:
    """base64 of its file, of which `change` has changed the arrays."""
    file = io.BytesIO()
    Trace.from_json(trace).save(file)
    file.seek(0)
    with np.load(file) as columns:
        data = {name: columns[name] for name in columns.files}
    change(data)
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **data)
    return base64.b64encode(file.getvalue()).decode()


def file(name: str, change: Callable[[Json], None], *words: str, compressed=False) -> Bad:
    return Bad(
        f"file: {name}", lambda g: {"trace": binary(g.open, change, compressed)}, words
    )  # fmt: skip


def header(**changes: Any) -> Callable[[Json], None]:
    def change(data: Json) -> None:
        head = json.loads(data["header"].tobytes()) | changes
        data["header"] = np.frombuffer(json.dumps(head).encode(), np.uint8)

    return change


def array(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Callable[[Json], None]:
    def change(data: Json) -> None:
        data[name] = make(data[name])

    return change


def claims_a_huge_shape(good: Good) -> Json:
    """The array's header says 2^40 rows; the file has none of them."""
    raw = io.BytesIO(base64.b64decode(Trace.from_json(good.open).to_base64()))
    out = io.BytesIO()
    with zipfile.ZipFile(raw) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member == "entropy.npy":
                fake = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    fake, {"descr": "<f4", "fortran_order": False, "shape": (2**40,)}
                )
                data = fake.getvalue()
            new.writestr(member, data)
    return {"trace": base64.b64encode(out.getvalue()).decode()}


FILES = [
    request("not base64", lambda g: {"trace": "?" * 50}, "not base64"),
    request("no text at all", lambda g: {"trace": ""}, "not a trace file"),
    request("not an archive", lambda g: {"trace": "AAAA" * 99}, "not a trace file"),
    request("half an archive", lambda g: {"trace": Trace.from_json(g.open).to_base64()[:1200]},
            "not a trace file"),
    request("a header that claims 2^40 steps", claims_a_huge_shape, "not a trace file"),
    file("a bomb", lambda d: d.update(offsets=np.zeros((20, 16_000_000), np.uint8)),
         "at most", "allowed", compressed=True),
    file("pickled objects", array("ids", lambda a: a.astype(object)), "not a trace file"),
    file("float64 weights", array("weights", lambda a: a.astype(np.float64)), "float32"),
    file("int64 ids", array("ids", lambda a: a.astype(np.int64)), "int32"),
    file("one dimension", array("weights", lambda a: a[0]), "dimensions"),
    file("three dimensions", array("ids", lambda a: a[None]), "dimensions"),
    file("fewer entropies", array("entropy", lambda a: a[:5]), "steps"),
    file("fewer slots", array("ids", lambda a: a[:, :1]), "alike"),
    file("no slots", lambda d: d.update(ids=d["ids"][:, :0], weights=d["weights"][:, :0]), "alike"),
    file("an array too many", lambda d: d.update(code=np.zeros(3)), "arrays must be of"),
    file("no entropies", lambda d: d.pop("entropy"), "not a trace file"),
    file("a header that is no object", lambda d: d.update(header=np.zeros(9, np.uint8)),
         "not a trace file"),
    file("offsets of a dtype that there is not", lambda d: (
         d.update(offsets=np.zeros((len(d["ids"]), 8), np.uint8)), header(offset_dtype="O")(d)),
         "dtype must be one of"),
    file("an id beyond the vocabulary", array("ids", lambda a: a + 10**6), "ids[0][0]"),
    file("weights that are NaN", array("weights", lambda a: a * np.float32(NAN)), "finite"),
    file("entropies that are NaN", array("entropy", lambda a: a * np.float32(NAN)), "entropy[0]"),
]  # fmt: skip


def offsets(make: Callable[[bytes, int], bytes], dtype: str = "float32") -> Callable[[Json], Json]:
    """Other embedding offsets: of those that there are, and the number of steps."""

    def change(old: Json) -> Json:
        raw = make(base64.b64decode(old["data"]), 20)
        return {"dtype": dtype, "data": base64.b64encode(raw).decode()}

    return change


def of_value(value: float) -> Callable[[bytes, int], bytes]:
    return lambda raw, _: np.full(len(raw) // 4, value, np.float32).tobytes()


EARLIER = {"start": 1, "step": 0, "ids": [[20, 21]], "weights": [[0.5, 0.5]], "entropy": [0.7]}


def earlier(**changes: Any) -> Json:
    """Concept tokens in the prompt."""
    return EARLIER | changes


def slots(count: int) -> Callable[[Good], Json]:
    def make(good: Good) -> Json:
        trace = copy.deepcopy(good.open)
        trace["ids"][2], trace["weights"][2] = list(range(count)), [1 / count] * count
        trace["k"] = count
        trace["params"]["max_topk"] = count
        return {"trace": trace}

    return make


BIT_ID = 2**24 + 20


def grid(good: Good) -> Json:
    """On a grid of weights an id has 24 bits: this one would be another token."""
    trace = copy.deepcopy(good.open)
    for at in range(len(trace["ids"])):
        trace["ids"][at], trace["weights"][at] = [20], [1.0]
    trace["ids"][2] = [BIT_ID]
    trace["params"]["weight_bits"], trace["model"] = 8, {}
    return {"trace": trace}
