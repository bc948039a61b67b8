"""An optional LLM judge: asked, with one prompt for every method, where the grader said no.

It can only turn a no into a yes, as in the authors' scripts; that makes every method's accuracy an
upper reading, and the record's `grader` says where it was asked.
"""

import os
from typing import Any

from sglang_soft_evals.client import ServerGoneError
from sglang_soft_evals.config import Judge

PROMPT = """You compare a student's final answer with the reference answer of the same question.

Question:
{question}

Reference answer: {gold}

End of the student's solution:
{text}

Is the student's final answer equivalent to the reference answer? Forms may differ (1/2 and 0.5), values may not.
A solution that does not reach one final answer is not equivalent. Reply with one word, YES or NO."""

RETRIES = 5
"""Of a request to the judge, with growing pauses."""
TAIL = 2000
"""Characters of a solution that the judge sees."""


class JudgeClient:
    """Asks the judge's endpoint, again and again for a while where that fails."""

    def __init__(self, judge: Judge) -> None:
        from openai import AsyncOpenAI

        if judge.api_key_env is not None and judge.api_key_env not in os.environ:
            raise ValueError(
                f"judge.api_key_env: the environment has no variable {judge.api_key_env}."
            )
        key = os.environ[judge.api_key_env] if judge.api_key_env else "none"
        self._client = AsyncOpenAI(base_url=judge.base_url, api_key=key, max_retries=RETRIES)
        self._model = judge.model

    async def says_yes(self, record: dict[str, Any]) -> bool:
        """Whether the judge takes a record's answer for right. Greedy. Raises ServerGoneError: it
        does not answer."""
        from openai import OpenAIError

        prompt = PROMPT.format(
            question=record["prompt"], gold=record["gold"], text=record["text"][-TAIL:]
        )
        try:
            completion = await self._client.chat.completions.create(
                model=self._model, messages=[{"role": "user", "content": prompt}], temperature=0.0
            )
        except OpenAIError as error:
            raise ServerGoneError(
                f"the judge does not answer ({type(error).__name__}: {error})"
            ) from error
        words = (completion.choices[0].message.content or "").upper().replace(".", " ").split()
        return bool(words) and words[-1] == "YES"
