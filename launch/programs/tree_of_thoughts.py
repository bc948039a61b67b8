"""A tree of soft thoughts: branch, score, prune, think on, answer.

Each branch thinks a number of steps with noise of its own (method soft_gumbel). The branches with
the lowest mean entropy are kept, and each of them branches again, from its concept tokens. In the
end the best thought is finished, and answers.

    python -m launch.programs.tree_of_thoughts --url http://127.0.0.1:30000 --depth 2
"""

from typing import Any

import sglang as sgl

from launch.programs.common import (
    COLD_STOP,
    OPEN,
    SAMPLING,
    answer_of,
    arguments,
    backend,
    check,
    summary,
)
from sglang_soft import lang

NOISY = SAMPLING | {"method": "soft_gumbel", "gumbel_temperature": 0.3}


@sgl.function
def grow(s, question: str, depth: int, branches: int, keep: int, steps: int, seed: int) -> Any:
    """Returns the scores of the branches at each depth, and the state that answered."""
    s += sgl.user(question)
    s += sgl.assistant_begin() + OPEN
    alive, scores = [s], []
    for level in range(depth):
        grown = [branch for state in alive for branch in state.fork(branches)]
        for number, branch in enumerate(grown):
            branch += lang.gen(
                f"step {level}",
                max_tokens=steps,
                temperature=0.6,
                soft_thinking=NOISY,
                sampling_seed=seed + 1000 * level + number,
            )
        # All are asked at once; the score of the first waits for its thought.
        scored = [(score(check(branch), f"step {level}"), branch) for branch in grown]
        scored.sort(key=lambda pair: pair[0])
        alive = [branch for _, branch in scored[:keep]]
        scores.append([value for value, _ in scored])
    best = alive[0]
    best += lang.gen("rest", max_tokens=256, temperature=0.6, soft_thinking=SAMPLING | COLD_STOP)
    return scores, check(best)


def score(state: Any, name: str) -> float:
    """Mean entropy of the whole thought so far, in nats. Lower is better: the model is surer."""
    return summary(state, name)["mean_entropy"]


def run(on: Any, question: str, **shape: int) -> tuple[str, list[list[float]]]:
    """The answer, and the scores at each depth, the kept ones first."""
    state = check(grow.run(question, backend=on, **shape))
    scores, best = state.ret_value
    print(f"text     {best.text()}")
    return answer_of(best["rest"]), scores


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, depth=2, branches=3, keep=2, steps=12)
    answer, scores = run(
        backend(args),
        args.question,
        depth=args.depth,
        branches=args.branches,
        keep=args.keep,
        steps=args.steps,
        seed=args.seed,
    )
    for level, values in enumerate(scores):
        print(f"depth {level}  mean entropy {' '.join(f'{value:.3f}' for value in values)}")
    print(f"answer   {answer}")


if __name__ == "__main__":
    main()
