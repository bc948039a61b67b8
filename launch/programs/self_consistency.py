"""Self-consistency over one thought: think once, answer n times, take the majority.

The thought is soft. Every answer is sampled from its concept tokens, which are prefilled once.

    python -m launch.programs.self_consistency --url http://127.0.0.1:30000 --n 8
"""

from collections import Counter
from typing import Any

import sglang as sgl

from launch.programs.common import COLD_STOP, OPEN, SAMPLING, answer_of, arguments, backend, check
from sglang_soft import lang


@sgl.function
def think_once(s, question: str, n: int) -> None:
    s += sgl.user(question)
    s += sgl.assistant_begin() + OPEN
    only_think = SAMPLING | COLD_STOP | {"max_answer_tokens": 0}
    s += lang.gen("thought", max_tokens=256, temperature=0.6, soft_thinking=only_think)
    answers = s.fork(n)
    answers += sgl.gen("answer", max_tokens=24, temperature=0.8)
    for state in answers:
        check(state)
    answers.join()


def run(on: Any, question: str, n: int) -> tuple[str, Counter[str]]:
    """The answer of the majority, and how often each was given."""
    state = check(think_once.run(question, n, backend=on))
    print(f"thought  {state['thought']}")
    votes = Counter(map(answer_of, state["answer"]))
    return votes.most_common(1)[0][0], votes


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, n=8)
    best, votes = run(backend(args), args.question, args.n)
    print(f"votes    {dict(votes)}\nanswer   {best}")


if __name__ == "__main__":
    main()
