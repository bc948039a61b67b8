"""An optional judge: a model that is asked about every answer that the grader calls wrong.

The judge can only turn a no into a yes, as in the authors' scripts. So every accuracy with a judge
is an upper bound. The record's `grader` says whether the judge was asked.
"""

import asyncio
import os
from typing import Any

from sglang_soft_evals.client import Answer, Client, NoAnswerError, ServerGoneError
from sglang_soft_evals.config import Judge
from sglang_soft_evals.thoughts import split

PROMPT = """You compare a student's final answer with the reference answer of the same question.

Question:
{question}

Reference answer: {gold}

End of the student's solution:
{text}

Is the student's final answer equivalent to the reference answer? Forms may differ (1/2 and 0.5), \
values may not.
A solution that does not reach one final answer is not equivalent. Reply with one word, YES or \
NO."""

RETRIES = 5
PAUSE = 0.5
"""Seconds before the first retry; doubled for each further one."""
TIMEOUT = 600.0
"""Seconds for one answer."""
TAIL = 2000
"""Characters of a solution that the judge sees."""


class JudgeClient:
    """Asks the judge's endpoint. Raises ValueError if the environment lacks its key."""

    def __init__(self, judge: Judge) -> None:
        name = judge.api_key_env
        if name is not None and name not in os.environ:
            raise ValueError(f"judge.api_key_env: the environment has no variable {name}.")
        key = None if name is None else os.environ[name]
        self._client = Client(judge.base_url, timeout_s=TIMEOUT, api_key=key)
        self.model = judge.model

    async def close(self) -> None:
        await self._client.close()

    async def says_yes(self, record: dict[str, Any]) -> bool:
        """Whether the judge calls a record's answer right. Greedy. Raises ServerGoneError if it
        does not answer."""
        text = record["text"][-TAIL:]
        prompt = PROMPT.format(question=record["prompt"], gold=record["gold"], text=text)
        messages = [{"role": "user", "content": prompt}]
        answer = await self._ask({"model": self.model, "messages": messages, "temperature": 0.0})
        words = _text(answer).upper().replace(".", " ").split()
        return bool(words) and words[-1] == "YES"

    async def _ask(self, body: dict[str, Any]) -> Answer:
        for attempt in range(RETRIES + 1):
            if attempt:
                await asyncio.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                answer = await self._client.post("/chat/completions", body)
            except NoAnswerError as error:
                reason = str(error)
                continue
            if answer.status == 200 and _is_completion(answer):
                return answer
            reason = answer.error
            if answer.status < 500 and answer.status not in (408, 409, 429):
                break
        raise ServerGoneError(f"the judge does not answer ({reason})")


def _is_completion(answer: Answer) -> bool:
    try:
        return isinstance(answer.content["choices"][0]["message"].get("content"), str | None)
    except (KeyError, IndexError, TypeError, AttributeError):
        return False


def _text(answer: Answer) -> str:
    """Without the judge's own thought."""
    content = answer.content["choices"][0]["message"].get("content") or ""
    return split("", content, None).answer
