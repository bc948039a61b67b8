"""A judge that reads answers: some solvers think and answer, a judge thinks for itself and chooses.

The judge is a program of its own. It gets the answers as text and nothing of the solvers' thoughts.
It chooses by the likelihood of each answer after its own concept tokens.

    python -m launch.programs.judge --url http://127.0.0.1:30000 --solvers 6
"""

from typing import Any

import sglang as sgl

from launch.programs.common import COLD_STOP, OPEN, SAMPLING, answer_of, arguments, backend, check
from sglang_soft import lang

NOISY = SAMPLING | {"method": "soft_gumbel", "gumbel_temperature": 1.0}


@sgl.function
def solve(s, question: str, seed: int) -> None:
    s += sgl.user(question)
    thinking = lang.gen(
        "answer", max_tokens=256, temperature=1.0, soft_thinking=NOISY, sampling_seed=seed
    )
    s += sgl.assistant(OPEN + thinking)


@sgl.function
def judge(s, question: str, answers: list[str]) -> None:
    s += sgl.user(question)
    choice = lang.gen(
        "verdict",
        choices=[f"\nAnswer: {answer}" for answer in answers],
        max_tokens=256,
        temperature=0.6,
        soft_thinking=SAMPLING | COLD_STOP,
    )
    s += sgl.assistant(OPEN + choice)


def run(on: Any, question: str, seeds: range) -> tuple[str, list[str]]:
    """The judge's choice, and the different answers."""
    solved = solve.run_batch([{"question": question, "seed": seed} for seed in seeds], backend=on)
    answers = sorted({answer_of(check(state)["answer"]) for state in solved})
    state = check(judge.run(question, answers, backend=on))
    print(f"thought  {state['verdict_thought']}")
    return answer_of(state["verdict"]), answers


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, solvers=6)
    seeds = range(args.seed, args.seed + args.solvers)
    verdict, answers = run(backend(args), args.question, seeds)
    print(f"answers  {', '.join(answers)}\nverdict  {verdict}")


if __name__ == "__main__":
    main()
