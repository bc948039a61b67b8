"""What a server says about itself: think tokens, and every setting that can change an answer."""

import hashlib
import re
from pathlib import Path
from typing import Any

import orjson

from sglang_soft_evals.client import Client, NoAnswerError
from sglang_soft_evals.counting import ThinkTokens
from sglang_soft_evals.hub import Question
from sglang_soft_evals.thoughts import TAGS, is_open, opener

TAIL = 32
"""Tokens at the end of a prompt that are looked at."""
_NOT_COMPARED = re.compile(
    r"host|.*port|.*ports|.*_ip|.*addr|.*endpoints?|.*root_path|launch_command|status|frontend"
    r"|random_seed|.*(log|metrics|trace|otlp|bucket|dump|watchdog|timeout|warmup|gc_|nvtx|profile).*"
    r"|.*(_key|_key_b|password|secret|ssl_.*|custom_sigquit_handler)"
    r"|mem_fraction_static|max_total_num_tokens|max_total_tokens|max_req_input_len|kv_events"
    r"|max_running_requests|startup_time"
    r"|base_gpu_id|gpu_id_step|numa_node|nccl.*|download_dir|internal_states|tokenizer_worker_num"
    r"|detokenizer_worker_num|skip_server_warmup|uses_.*|.*_explicitly_set"
)
"""Settings that are no part of a run: addresses, keys, logs, times, and what a machine's memory
decides.
`random_seed` is drawn at each start, and samples have their own."""


async def think_tokens(client: Client, prompt_ids: object) -> ThinkTokens:
    """What the server's tokenizer says. prompt_ids: tokens of a prompt of the run; None: not sent.

    Unknown parts stay so: a gateway or another server may lack these endpoints.
    """
    text = None
    if isinstance(prompt_ids, list) and prompt_ids:
        body = {"tokens": prompt_ids[-TAIL:], "skip_special_tokens": False}
        text = (await _post(client, "/detokenize", body)).get("text")
    if not isinstance(text, str):
        return ThinkTokens()
    start = opener(text) or TAGS[0][0]
    tags = dict(TAGS)
    ids = [await _ids(client, tag) for tag in (start, tags[start])]
    return ThinkTokens(is_open(text), *ids)


async def _ids(client: Client, text: str) -> tuple[int, ...]:
    answer = await _post(client, "/tokenize", {"prompt": text, "add_special_tokens": False})
    tokens = answer.get("tokens")
    return tuple(t for t in tokens if isinstance(t, int)) if isinstance(tokens, list) else ()


async def _post(client: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = await client.post(path, body)
    except NoAnswerError:
        return {}
    return answer.content if answer.status == 200 else {}


async def settings(client: Client) -> dict[str, Any]:
    """Settings that can change an answer, by name; empty if the server does not tell them.

    `soft_thinking.*`: those of the plugin. Settings that are off (null) are left out.
    """
    info = await client.get_if_there("/server_info")
    plugin = (await client.get_if_there("/soft_thinking")).get("server")
    found = {name: value for name, value in info.items() if not _NOT_COMPARED.fullmatch(name)}
    if isinstance(plugin, dict):
        found |= {f"soft_thinking.{name}": value for name, value in plugin.items()}
    for name, value in found.items():
        if isinstance(value, str) and Path(value).parts[-2:] == ("sglang_soft", "bundled"):
            found[name] = "bundled"  # wherever it is installed
    return {name: value for name, value in found.items() if value is not None}


def fingerprint(questions: list[Question]) -> str:
    """SHA-256 of ids, questions and gold answers, in order."""
    return hashlib.sha256(orjson.dumps([list(q) for q in questions])).hexdigest()
