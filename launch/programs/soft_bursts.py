"""Soft bursts (Parallel-Soft-Thinking), without its training, as a program over forks of a thought.

A drawn thought, until a step is unsure: its entropy is at least tau. Then, on a fork, a few soft
steps, and the token before the unsure step is fed once more. The next token is drawn from the
logits of lower entropy: those before the burst, or those after it. The fork is dropped, and the
thought goes on from the token. At most so many bursts.

    python -m launch.programs.soft_bursts --url http://127.0.0.1:30000 --tau 0.4

What differs from the authors' code: they keep the burst in the KV cache, masked, and put the
positions back, so that the token that is fed once more stands where it stood. Here it stands after
the burst, and the burst is a branch of the prefix cache that nobody reads again. They can train an
adapter for the burst, and their script uses one; here the model is as it is. They also burst with a
probability, whatever the entropy; this is left out. Entropies are those of a trace: at the
thought's temperature, before its filter. The authors published no result.
"""

from typing import NamedTuple

from launch.programs.common import SAMPLING, answer_of, arguments
from sglang_soft.client import Answer, Client
from sglang_soft.trace import Trace

THOUGHT = SAMPLING | {"method": "cot", "temperature": 0.6}
BURST = SAMPLING | {"method": "soft", "temperature": 0.6, "max_topk": 10}
MOST = 256
"""Tokens of a thought."""


class Burst(NamedTuple):
    step: int
    """Index of the unsure step."""
    before: float
    """Entropy of the logits before the burst, nats."""
    after: float
    """Of those after it."""
    soft: int
    """Soft steps that were taken."""
    drawn: tuple[int, int]
    """The tokens that were drawn from the two."""
    ends: bool
    """The second one ends the thought."""

    @property
    def helps(self) -> bool:
        return self.after < self.before


def unsure(trace: Trace, start: int, tau: float) -> int | None:
    """The first thinking step from `start` on whose entropy is at least tau, if there is one."""
    steps = range(start, trace.thinking_tokens)
    return next((step for step in steps if trace.entropy[step] >= tau), None)


def token_of(trace: Trace, step: int) -> int:
    """What a thinking step emitted; step -1: the last token before the thought."""
    assert trace.start is not None
    at = trace.start + step - len(trace.prompt_ids)
    return int(trace.output_ids[at] if at >= 0 else trace.prompt_ids[at])


def burst(client: Client, trace: Trace, step: int, steps: int, seed: int) -> Burst | None:
    """At an unsure step; None: the burst ended the thought, so nothing can be compared."""
    fork = client.resume(
        trace.cut(step), at="next", soft=BURST, max_tokens=steps, seed=seed, concepts=True
    ).trace
    assert fork is not None
    if fork.ended_by_think_end:
        return None
    taken = len(fork.steps) - step
    entered = fork.edit.insert(step + taken, [token_of(trace, step - 1)])
    last = client.resume(entered, at="next", soft=THOUGHT, max_tokens=1, seed=seed, concepts=True)
    assert last.trace is not None
    drawn = token_of(trace, step), int(last.trace.output_ids[-1])
    before, after = float(trace.entropy[step]), float(last.trace.entropy[-1])
    return Burst(step, before, after, taken, drawn, last.trace.ended_by_think_end)


def think(
    client: Client, question: str, *, tau: float, steps: int, most: int, seed: int
) -> tuple[Answer, list[Burst]]:
    """The answer, and the bursts that were taken. most: of them."""
    trace = client.ask(
        question, soft=THOUGHT | {"max_answer_tokens": 0}, max_tokens=MOST, seed=seed, concepts=True
    ).trace
    found: list[Burst] = []
    start = 0
    assert trace is not None
    while len(found) < most and (step := unsure(trace, start, tau)) is not None:
        start = step + 1
        if (taken := burst(client, trace, step, steps, seed)) is None:
            continue
        found.append(taken)
        token = taken.drawn[1]
        if not taken.helps or token == taken.drawn[0]:
            continue
        trace = trace.cut(step)
        if taken.ends:
            break  # the answer closes the thought
        trace = client.resume(
            trace.edit.insert(step, [token]), at="next",
            soft=THOUGHT | {"max_answer_tokens": 0}, max_tokens=MOST - start, seed=seed,
            concepts=True,
        ).trace  # fmt: skip
        assert trace is not None
    answer = client.resume(trace, at="answer", soft={"answer_temperature": 0.0}, max_tokens=24)
    return answer, found


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, steps=3, bursts=5, tau=0.4)
    with Client(args.url, api_key=args.api_key) as client:
        answer, found = think(
            client, args.question, tau=args.tau, steps=args.steps, most=args.bursts, seed=args.seed
        )
    for b in found:
        verdict = "taken" if b.helps else "dropped"
        print(
            f"burst    step {b.step}, {b.soft} soft steps: entropy {b.before:.3f} -> "
            f"{b.after:.3f}, token {b.drawn[0]} -> {b.drawn[1]}, {verdict}"
        )
    print(f"answer   {answer_of(answer.text)}")


if __name__ == "__main__":
    main()
