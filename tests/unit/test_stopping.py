"""The stopping rules' steps, through the engine's own, on logits made by hand and against the
oracle's formulas."""

import math
import random

import pytest
import torch
from sglang_soft_kernels import layout
from sglang_soft_kernels.layout import StepKind

from sglang_soft import methods, stopping
from sglang_soft.engine.inputs import prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.request import SoftRequest
from sglang_soft.engine.step import StepOutput, concept_step
from sglang_soft.methods.token_classes import CLASSES, TokenClasses
from sglang_soft.params import Sampling
from sglang_soft.stopping import leash
from tests.oracle.boundaries import CLASSES as ORACLES
from tests.oracle.stopping import Stopping
from tests.unit.soft_request import soft_request

V, END, STOP, WORD = 60, 8, 3, 20
"""Of tokens: think-end, the only one that ends a sentence, and one that does not."""
IDS = {"sentence": {STOP}, "clause": {STOP, 4}, "paragraph": {5}}
WIDE = {name: set(range(0, V, n)) for n, name in enumerate(("clause", "sentence"), 2)}
OFF = {"cold_stop_entropy": 0.0, "max_topk": 4, "thinking": Sampling(1.0, 1.0, -1, 0.0)}


def asking(
    rule: str | None, method: str = "soft", end=(END,), seed: int = 0, **params
) -> SoftRequest:
    stop = None if rule is None else stopping.get(rule).Params(**params)
    own = {"cot": {"max_topk": 4}}.get(method, {})
    return soft_request(method, stop=stop, think_end=end, seed=seed, **(OFF | own))


class Batch:
    """Requests that think next to each other, without a model."""

    def __init__(self, requests: list[SoftRequest | None], ids: dict = IDS) -> None:
        self.pool = ConceptPool(len(requests) + 1, 32, "cpu", token_ids=ids)
        self.rows = torch.arange(1, len(requests) + 1)
        self.requests = requests
        self.pool.start(self.rows.tolist(), requests)

    def step(self, logits: torch.Tensor) -> StepOutput:
        """logits: [N, V]"""
        output = concept_step(prepare(self.pool, self.rows, self.requests), logits)
        tokens = torch.full((len(logits),), WORD)
        output.overwrite_tokens(tokens)
        output.update_pool(tokens)
        return output


def logits(token: int, rank: int, lead: float = 30.0, end: int = END) -> torch.Tensor:
    """[V]: `token` is the most probable one by `lead`, and think-end the one of that rank. Others
    are 1 apart."""
    others = [i for i in range(V) if i not in (token, end)]
    order = [token, *others]
    order.insert(rank - 1, end)
    z = -torch.arange(V).float()
    if rank > 1:
        z[0] += lead
    found = torch.empty(V)
    found[torch.tensor(order)] = z
    return found


def ends(rule: str, steps: list[tuple[int, int]], **params) -> int | None:
    """The step at which the rule ends a thought, of steps that say what is emitted and the rank of
    think-end."""
    batch = Batch([asking(rule, **params)])
    for at, (token, rank) in enumerate(steps):
        kind = int(batch.step(logits(token, rank)[None]).record.kind[0])
        if kind != StepKind.CONCEPT:
            assert kind == StepKind.STOP_RULE
            return at
    return None


def test_a_boundary_is_behind_the_token_and_never_at_the_first_step():
    words = [(WORD, 2)] * 3
    assert ends("rcpd", words) is None
    assert ends("rcpd", [(STOP, 2), (WORD, 2), (WORD, 2)]) == 1
    assert ends("rcpd", [(WORD, 2), (STOP, 2), (WORD, 2)]) == 2
    assert ends("rcpd", words, at="every") == 1
    assert ends("rcpd", [(4, 2), (WORD, 2)]) is None
    assert ends("rcpd", [(4, 2), (WORD, 2)], at="clause") == 1
    assert ends("thinkbrake", [(STOP, 2), (WORD, 2)], margin=1000.0) is None
    assert ends("thinkbrake", [(5, 2), (WORD, 2)], margin=1000.0) == 1


def test_a_rank_counts_what_is_above_and_the_bound_is_reached():
    at_boundary = [(STOP, 50), (WORD, 5)]
    assert ends("rcpd", at_boundary) == 1
    assert ends("rcpd", [(STOP, 50), (WORD, 6)]) is None
    batch, z = Batch([asking("rcpd")]), logits(WORD, 7)
    batch.step(logits(STOP, 50)[None])
    z[z.sort(descending=True).indices[1:6]] = float(z[END])  # they are not above it
    assert int(batch.step(z[None]).record.kind[0]) == StepKind.STOP_RULE


def test_ranks_of_earlier_boundaries_count_whatever_is_between_them():
    def at(*ranks: int) -> int | None:
        """Boundaries with these ranks, words between them that would stop anything."""
        steps = [(STOP, 50)]
        for rank in ranks:
            steps += [(WORD, rank), (STOP, 2)]
        found = ends("rcpd", steps, rank=1, low_rank=2, mid_rank=2)
        return None if found is None else (found - 1) // 2

    assert at(40, 40, 40, 10) == 3, "four of them: 10, 50, 100, 1000 looking back"
    assert at(40, 40, 10) is None, "the fourth is missing"
    assert at(40, 55, 40, 10) == 3 and at(40, 40, 55, 10) is None
    assert ends("rcpd", [(STOP, 50), *[(STOP, 18)] * 9], mid_rank=1) == 3
    assert ends("rcpd", [(STOP, 50), (STOP, 18), (STOP, 18), (STOP, 30), *[(STOP, 18)] * 3],
                mid_rank=1) == 6, "in a row"  # fmt: skip
    assert ends("rcpd", [(STOP, 50), *[(STOP, 40)] * 9]) == 6


def test_a_margin_in_nats_is_reached():
    z = logits(WORD, 2, lead=2.0)  # 3 nats
    for margin, kind in ((3.0, StepKind.STOP_RULE), (2.999, StepKind.CONCEPT)):
        batch = Batch([asking("thinkbrake", at="every", margin=margin)])
        batch.step(logits(WORD, 40)[None])
        assert int(batch.step(z[None]).record.kind[0]) == kind


def test_a_boost_raises_think_end_in_its_rows_only():
    z = torch.randn(5, V, generator=torch.Generator().manual_seed(1)) * 2
    z[:, 30:33] = -math.inf
    z[:, END] = 0.5
    before = z.clone()
    batch = [asking("think_end_boost", boost=0.5), asking(None), None, asking("think_end_boost")]
    batch.append(asking("leash"))
    output = Batch(batch).step(z)
    assert torch.equal(z, before), "the logits of others, and SGLang's, are a copy"
    for row, share in ((0, 0.5), (1, 0.0), (3, 0.3), (4, 0.0)):
        want = z[row].clone()
        want[END] += share * (z[row].max() - z[row][z[row].isfinite()].mean())
        alone = Batch([asking(None)]).step(want[None]).record
        record = output.record.packed[(0, 1, None, 2, 3)[row]]
        assert record[layout.ENTROPY].view(torch.float32) == pytest.approx(float(alone.entropy[0]))
        if not share:
            assert torch.equal(record[: len(alone.packed[0])], alone.packed[0]), "to the bit"
    forbidden = z.clone()
    forbidden[:, END] = -math.inf
    record = Batch([asking("think_end_boost", boost=10.0)]).step(forbidden[:1]).record
    assert int(record.kind[0]) == StepKind.CONCEPT, "what is forbidden stays so"


def test_the_median_of_the_first_steps():
    values = torch.tensor([[4.0, 1.0, 3.0, 2.0, *[9.0] * 12]])
    wanted = {1: 4.0, 2: 2.5, 3: 3.0, 4: 2.5, 5: 3.0, 16: 9.0}
    for count, median in wanted.items():
        assert leash._median(values, torch.tensor([float(count)])).tolist() == [median], count


def test_the_next_token_of_a_think_end_of_several_is_meant():
    """The first one, and behind it the second."""
    end = (END, 9)
    batch = Batch([asking("rcpd", end=end, at="every", rank=3, low_count=99, mid_count=99)])
    second = logits(WORD, 2, end=9)
    second[END] = -200.0
    for _ in range(2):
        assert int(batch.step(second[None]).record.kind[0]) == StepKind.CONCEPT
    first = logits(WORD, 40, end=9)
    first[END] = first.max() + 1
    record = batch.step(first[None]).record
    assert int(record.token[0]) == END, "the method's own, or the rule's: the first one"
    record = batch.step(second[None]).record
    assert int(record.token[0]) == 9 and int(record.kind[0]) == StepKind.STOP_RULE


def test_the_method_counts_before_the_rule_and_the_rule_before_cold_stop_and_the_bound():
    """`finish_step` decides; here that the step hands the rule over."""
    confident = {"cold_stop_entropy": 50.0, "cold_stop_steps": 1, "max_thinking_tokens": 0}
    rule = stopping.get("leash").Params(max_tokens=1)
    request = soft_request("soft", stop=rule, **(OFF | confident))
    assert int(Batch([request]).step(logits(WORD, 40)[None]).record.kind[0]) == StepKind.STOP_RULE
    eos = soft_request("soft", stop=rule, eos_ids=(WORD,), **OFF)
    assert int(Batch([eos]).step(logits(WORD, 40)[None]).record.kind[0]) == StepKind.EOS


def drifting(generator: random.Random, steps: int) -> torch.Tensor:
    """[steps, V]: logits that sharpen, stand still, or both in turn."""
    g = torch.Generator().manual_seed(generator.randrange(10**6))
    base, rows, scale = torch.randn(V, generator=g), [], 0.5
    for _ in range(steps):
        base = base + 0.2 * torch.randn(V, generator=g)
        scale = min(4.0, max(0.3, scale + generator.choice([-0.1, 0.0, 0.05, 0.3])))
        rows.append(base * scale + 0.1 * torch.randn(V, generator=g))
    found = torch.stack(rows)
    found[:, END] -= 2
    return found


def any_rule(generator: random.Random) -> tuple[str, dict]:
    name = generator.choice(["rcpd", "thinkbrake", "leash", "leash"])
    at = generator.choice(["sentence", "clause", "every"])
    if name == "rcpd":
        low, mid = generator.randint(2, 30), generator.randint(5, 50)
        return name, {
            "at": at, "rank": generator.randint(1, 4), "low_rank": low, "mid_rank": mid,
            "low_count": generator.randint(1, 5), "mid_count": generator.randint(1, 9),
        }  # fmt: skip
    if name == "thinkbrake":
        return name, {"at": at, "margin": generator.uniform(0.2, 4)}
    return name, {
        "window": generator.randint(1, 16), "votes": generator.randint(1, 16),
        "entropy_slope": generator.uniform(0, 0.05), "margin_gain": generator.uniform(0, 0.5),
        "min_tokens": generator.randint(0, 20), "warm_up": generator.randint(0, 5),
        "entropy_drop": generator.uniform(0, 1), "saturation": generator.uniform(0.3, 1),
        "max_tokens": generator.choice([45, 1000]),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_rules_of_a_batch_are_those_of_the_oracle(seed):
    """Random parameters and logits. A decision that rounding may turn ends the comparison."""
    generator, steps = random.Random(seed), 50
    rules = [any_rule(generator) for _ in range(48)]
    rows = torch.stack([drifting(generator, steps) for _ in rules], 1)
    batch = Batch([asking(name, **params) for name, params in rules], WIDE)
    oracles = [
        Stopping({"rule": name, **params}, (END,), frozenset(WIDE.get(params.get("at"), range(V))))
        for name, params in rules
    ]
    thoughts: list[list[int]] = [[] for _ in rules]
    open_rows, stopped, compared = set(range(len(rules))), set(), 0
    for step in range(steps):
        record = batch.step(rows[step]).record
        for n in sorted(open_rows):
            want = oracles[n].step(rows[step, n], thoughts[n])
            if min(want.margins.values(), default=1.0) < 1e-5:
                open_rows.discard(n)
                continue
            kind = int(record.kind[n])
            if kind == StepKind.STOP_TOKEN:
                open_rows.discard(n)
                continue
            assert (kind == StepKind.STOP_RULE) is want.stops, (step, rules[n])
            compared += 1
            thoughts[n].append(int(record.token[n]))
            if want.stops:
                stopped.add(rules[n][0])
                open_rows.discard(n)
    assert stopped == {"rcpd", "thinkbrake", "leash"} and compared > 200


@pytest.mark.parametrize("name", [r.name for r in stopping.registry().values() if not r.fused])
def test_a_row_does_not_depend_on_its_batch(name):
    """To the bit: its record and its state, next to rows of every rule, alone, and next to
    discrete ones."""
    generator = random.Random(7)
    rows = torch.stack([drifting(generator, 20) for _ in range(7)], 1)
    others = [asking(r.name) for r in stopping.registry().values() if not r.fused]
    params = {"max_tokens": 15, "min_tokens": 1} if name == "leash" else {}
    mine = asking(name, **params)
    batches = [
        (Batch([mine, *others, asking(None, "cot")]), 0),
        (Batch([asking(name, **params)]), 0),
        (Batch([None, asking(None), asking(name, **params)]), 2),
    ]
    for step in range(20):
        found = []
        for batch, at in batches:
            z = torch.stack([rows[step, 1:7][i % 6] for i in range(len(batch.requests))])
            z[at] = rows[step, 0]
            output = batch.step(z)
            member = output.inputs.members.index(at)
            row, k = output.record, 4
            first = methods.state_columns()
            state = batch.pool.state[at + 1, first : first + len(stopping.get(name).state)]
            found.append([row.kind[member].item(), row.token[member].item(),
                          row.entropy[member].item(), row.weights[member, :k].tolist(),
                          state.tolist()])  # fmt: skip
        assert found[0] == found[1] == found[2], step


TEXTS = [
    "word", ".", " end.", "?!", "。", "…", '."', ".)", ". ", "Mr", ".\n", "\n", "\n\n", " \n\n ", ";",
    ": ", "；", ".a", ".;", "*", '"', "3.14", "）", "!**", "ok.]", "\r\n\r\n", "a\nb", "", "�",
]  # fmt: skip


class Texts:
    """A tokenizer with one token for each text."""

    def __len__(self) -> int:
        return len(TEXTS)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return []

    def batch_decode(self, sequences: list[list[int]], **options) -> list[str]:
        assert options == {"clean_up_tokenization_spaces": False}
        return ["".join(TEXTS[i] for i in ids) for ids in sequences]


@pytest.mark.parametrize("name", ["sentence", "clause", "paragraph"])
def test_classes_of_tokens_are_those_of_the_oracle(name):
    classes = TokenClasses(Texts())
    assert set(classes) == set(CLASSES)
    assert [TEXTS[i] for i in sorted(classes[name])] == [t for t in TEXTS if ORACLES[name](t)]
    assert classes[name] is classes[name], "made once"


def test_every_token_is_in_the_class_every():
    pool = ConceptPool(2, 4, "cpu")
    assert pool.token_classes(stopping.BOUNDARIES, V).sum(1).tolist() == [0, 0, 0, V]
