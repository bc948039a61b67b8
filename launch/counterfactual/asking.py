"""What a server is asked: to think, to answer a cut thought, to go on with a changed one."""

import math
from collections.abc import Sequence
from typing import Any

import requests

from sglang_soft.trace import Trace

THOUGHT = {
    "return_concepts": True,
    "max_answer_tokens": 0,
    # Ten candidates at every step, however improbable: each step has a second one.
    "temperature": 0.6, "top_p": 1.0, "top_k": -1, "min_p": 0.0,
}  # fmt: skip
GREEDY_ANSWER = {"answer_temperature": 0.0}
GOING_ON = GREEDY_ANSWER | {"method": "cot"}
"""How a changed thought goes on: drawn tokens, so that there is a probability to estimate."""
MAX_TOKENS = 200
SEED = 1
BATCH = 32
"""Traces in one HTTP request."""


class Asked:
    """One server with the bundled model."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._session = requests.Session()
        self._session.trust_env = False  # http_proxy is not meant for the loopback interface

    def think(self, question: str) -> Trace:
        """One soft thought; nothing of it is drawn."""
        prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n<think>\n"
        (answer,) = self._generate([prompt], [THOUGHT], max_new_tokens=MAX_TOKENS)
        trace = Trace.from_json(answer["meta_info"]["soft_thinking"]["trace"])
        if not trace.ended_by_think_end:
            raise RuntimeError(f"the thought did not end within {MAX_TOKENS} tokens")
        return trace

    def texts(self, tokens: Sequence[int]) -> list[str]:
        """Of each token."""
        body = {"model": "default", "skip_special_tokens": False}
        return [self._post("/detokenize", body | {"tokens": [i]})["text"] for i in tokens]

    def tokens(self, text: str) -> list[int]:
        body = {"model": "default", "prompt": text, "add_special_tokens": False}
        return list(self._post("/tokenize", body)["tokens"])

    def probabilities(self, traces: Sequence[Trace], answer: str) -> list[float]:
        """Of the answer right after each thought, which is closed: exact, nothing is drawn. The
        answer's tokens are read as a part of the prompt, as what follows the trace."""
        given = [{"trace": t.to_base64(), "at": "end", "thinking_start": "never"} for t in traces]
        count = len(self.tokens(answer))
        answers = self._generate(
            ["</think>" + answer] * len(given), given, max_new_tokens=1,
            return_logprob=True, logprob_start_len=0,
        )  # fmt: skip
        found = []
        for one in answers:
            read = one["meta_info"]["input_token_logprobs"][-count:]
            found.append(math.exp(sum(logprob for logprob, *_ in read)))
        return found

    def answers(
        self, places: Sequence[tuple[Trace, str]], n: int, how: dict[str, Any]
    ) -> list[list[str]]:
        """[len(places)][n]: what follows each trace, from a place (`at`) on. how: further keys."""
        given = [how | {"trace": trace.to_base64(), "at": at} for trace, at in places]
        outs = self._generate([""] * len(given), given, n=n, max_new_tokens=MAX_TOKENS)
        texts = [out["text"] for out in outs]
        return [texts[at : at + n] for at in range(0, len(texts), n)]

    def _generate(
        self, texts: Sequence[str], soft: Sequence[dict[str, Any]], *, max_new_tokens: int,
        n: int = 1, **body: Any,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """[len(texts) * n] answers."""
        sampling = [
            {"max_new_tokens": max_new_tokens, "n": n, "temperature": 0.0, "sampling_seed": SEED,
             "custom_params": {"soft_thinking": one}}
            for one in soft
        ]  # fmt: skip
        found: list[dict[str, Any]] = []
        for at in range(0, len(texts), BATCH):
            rows = slice(at, at + BATCH)
            request = {"text": texts[rows], "sampling_params": sampling[rows]} | body
            found += self._post("/generate", request)
        return found

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """Raises RuntimeError: the server refused."""
        answer = self._session.post(self.url + path, json=body, headers=self._headers, timeout=600)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: HTTP {answer.status_code}: {answer.text[:300]}")
        return answer.json()
