"""The table of test_bad_traces.py: what is wrong, and what the error has to say."""

import json
from typing import Any

from tests.engine.bad_traces import (
    FILES,
    NAN,
    Bad,
    Good,
    earlier,
    field,
    grid,
    many,
    nested,
    of_value,
    offsets,
    request,
    slots,
    step,
)

INF = float("inf")
NO_JSON = "JSON decode error"
NOT_KEPT = "no trace is kept under"


def negative(value: Any) -> Any:
    return [-1, *value[1:]]


def beyond(value: Any) -> Any:
    return [10**6, *value[1:]]


def longer(value: Any) -> Any:
    return [*value, 5]


def at(place: str, **more: Any):
    return lambda good: {"trace": good.open, "at": place} | more


TABLE: list[Bad] = [
    # of another model, method or version
    field("model.vocab_size", 999, "another model", "vocab_size is 999"),
    field("model.vocab_size", "many", "model.vocab_size"),
    field("model.hidden_size", 8, "another model", "hidden_size is 8"),
    field("model.layers", 99, "another model", "layers is 99"),
    field("model.embedding_rms", 9.0, "other weights", "embedding_rms is 9"),
    field("model.embedding_rms", NAN, NO_JSON),
    field("model.embedding_rms", "x", "embedding_rms must be a number"),
    field("model", [1], "model must be an object"),
    field("format", 2, "format must be 1"),
    field("format", True, "format must be 1"),
    field("method", "magic", "method must be one of", "magic"),
    field("method", ["soft"], "method must be text"),
    # ids
    step("ids", [10**6] * 2, "ids[2]"),
    step("ids", [-1, 5], "ids[2]"),
    step("ids", [5.0], "ids[2]", "whole numbers", "5.0"),
    step("ids", ["5"], "ids[2]", "whole numbers"),
    step("ids", [True], "ids[2]", "True"),
    step("ids", [[5]], "ids[2]", "flat"),
    step("ids", [2**40], "ids[2][0]", "32 bits"),
    field("ids", 5, "ids must be a list"),
    field("ids", lambda rows: [5, *rows[1:]], "ids[0]"),
    field("prompt_ids", beyond, "prompt_ids[0]", "vocabulary"),
    field("prompt_ids", negative, "prompt_ids[0]"),
    field("prompt_ids", None, "prompt_ids must be"),
    field("output_ids", beyond, "output_ids[0]"),
    field("output_ids", lambda ids: ["x" * 10**6, *ids[1:]], "output_ids"),
    request("an id of more bits than are kept", grid, "ids[2]"),
    # weights
    step("weights", [NAN], NO_JSON),
    step("weights", [INF, -INF], NO_JSON),
    step("weights", [0.5, 0.4], "weights[2] must sum to 1", "0.9"),
    step("weights", [1e30, -1e30, 1.0], "weights[2]"),
    step("weights", [1e300, -1e300], "weights[2]", "finite"),
    step("weights", [65.0, -64.0], "weights[2][0]", "[-64, 64]"),
    step("weights", [0.0, 0.0], "weights[2] must sum to 1"),
    step("weights", [-0.0, 1.0], "weights[2]", "used slots"),
    step("weights", [1e-40, 1.0], "weights[2][0]", "normal"),
    step("weights", [True], "weights[2]", "True"),
    step("weights", ["1.0"], "weights[2]", "numbers"),
    step("weights", [10**400], NO_JSON),
    field("weights", lambda rows: rows[:-1], "weights has", "entropy"),
    # lengths
    field("entropy", many(10**6), "entropy has 1000000 entries", "context"),
    field("ids", many(10**6), "ids has 1000000 entries"),
    field("output_ids", many(10**5), "output_ids has"),
    field("entropy", lambda e: [-1.0, *e[1:]], "entropy[0]"),
    field("entropy", lambda e: [NAN, *e[1:]], NO_JSON),
    request("a million chunks", lambda g: {"trace": [{"a": 1}] * 10**6}, "1000000 parts"),
    request("the same chunk twice", lambda g: {"trace": [g.open, g.open]}, "chunks are missing"),
    request("33 slots", slots(33), "k must be at most 32", "--soft-max-k"),
    request("65 slots", slots(65), "k must be"),
    field("k", 10**9, "k must be"),
    field("k", True, "k must be"),
    # positions and state
    field("start", 10**6, "start must be a position"),
    field("start", -1, "start must be a position"),
    field("start", 0, "start must be a position"),
    field("start", True, "start must be"),
    field("start", None, "start is null"),
    field("step", 3, "chunks are missing"),
    field("output_ids", longer, "1 tokens after an open thought"),
    field("thinking_finish_reason", "tired", "thinking_finish_reason"),
    field("thinking_finish_reason", ["length"], "thinking_finish_reason"),
    field("thinking_finish_reason", "stop_token", "think-end is fed as itself"),
    field("delimiter_match", 8, "delimiter_match"),
    field("delimiter_match", -1, "delimiter_match"),
    field("tail_step", 72, "tail_step"),
    field("tail_step", 3, "tail_reason"),
    field("tail_reason", "request", "tail_reason"),
    request("tail of a think-end that was put there", lambda g: {
        "trace": g.open | {"tail_step": 1, "tail_reason": "request"}}, "tail_reason"),
    request("tail beyond its tokens", lambda g: {
        "trace": g.open | {"tail_step": 9, "tail_reason": "cold_stop"}}, "tail_step"),
    request("tail beyond its tokens, cut", lambda g: {
        "trace": g.open | {"tail_step": 9, "tail_reason": "eos"}, "cut": 3}, "tail_step"),
    field("low_entropy_steps", -5, "low_entropy_steps"),
    field("low_entropy_steps", 2**31, "low_entropy_steps"),
    field("method_state", "x", "method_state"),
    field("method_state", [NAN], NO_JSON),
    field("seed", 2**70, "seed"),
    field("seed", nested(900), "seed"),
    field("tokenizer.think_end_id", [1] * 10**5, "think_end_id"),
    # parameters and segments
    field("params.temperature", -1, "temperature"),
    field("params.max_topk", 10**9, "max_topk"),
    field("params.weight_bits", 99, "weight_bits"),
    field("params.closing_ids", [5] * 10**5, "closing_ids"),
    field("params.closing_ids", {"a": 1}, "closing_ids"),
    field("params.closing_text", 5, "closing_text"),
    field("params.cold_stop_entropy", "x", "cold_stop_entropy"),
    field("params.more", nested(100), "params"),
    field("params.more", "x" * 10**6, "params"),
    field("segments", "x", "segments"),
    field("segments", [1], "segments"),
    field("segments", [{"step": True}], "segments[0].step"),
    field("segments", [{"step": 0}], "segments[0] needs"),
    field("segments", [{"step": 0, "edited": nested(50)}], "segments[0]"),
    field("segments", [{"step": 0, "edited": "x" * 10**6}], "segments[0]"),
    # concept tokens of the prompt
    field("prompt_concepts", [1], "prompt_concepts"),
    field("prompt_concepts", {}, "prompt_concepts.start"),
    field("prompt_concepts", earlier(start=0), "prompt_concepts.start"),
    field("prompt_concepts", earlier(start=10**5), "prompt_concepts.start"),
    field("prompt_concepts", earlier(ids=[[10**6, 3]]), "prompt_concepts.ids"),
    field("prompt_concepts", earlier(weights=[[3.0, 1.0]]), "prompt_concepts.weights[0]"),
    field("prompt_concepts", earlier(entropy=[-1.0]), "prompt_concepts.entropy[0]"),
    field("prompt_concepts", earlier(ids=[list(range(40))], weights=[[1 / 40] * 40]), "at most 32"),
    field("prompt_concepts", earlier(embedding_offsets={"dtype": "float32", "data": "AAAAAAAAAAA="}),
          "embedding offsets are 8 bytes"),
    field("prompt_concepts", earlier(ids=[[5]] * 10**6), "ids has 1000000"),
    # embedding offsets
    field("embedding_offsets", [1], "embedding_offsets"),
    field("embedding_offsets", {"dtype": "int8", "data": ""}, "needs a dtype", of="offsets"),
    field("embedding_offsets", {"dtype": ["float32"], "data": ""}, "dtype", of="offsets"),
    field("embedding_offsets", {"dtype": "float32", "data": "?"}, "not base64", of="offsets"),
    field("embedding_offsets", offsets(of_value(INF)), "finite", of="offsets"),
    field("embedding_offsets", offsets(of_value(1e30)), "within 30000", of="offsets"),
    field("embedding_offsets", offsets(lambda raw, n: raw[: len(raw) // 2]), "this server feeds",
          of="offsets"),
    field("embedding_offsets", offsets(lambda raw, n: raw[:-1]), "embedding_offsets", of="offsets"),
    field("embedding_offsets", offsets(lambda raw, n: bytes(len(raw)), "bfloat16"),
          "of bfloat16", of="offsets"),
    # the request
    request("a number", lambda g: {"trace": 5}, "must be an object, base64"),
    request("true", lambda g: {"trace": True}, "must be an object, base64"),
    request("an empty object", lambda g: {"trace": {}}, "lacks format"),
    request("an empty list", lambda g: {"trace": []}, "must be an object, or a list"),
    request("an answer in place of its trace", lambda g: {"trace": {"text": "x"}}, "lacks format"),
    request("a handle in a list", lambda g: {"trace": ["trace-1"]}, "must be an object, or a list"),
    request("unknown handle", lambda g: {"trace": "trace-" + "0" * 32}, NOT_KEPT, status=404),
    request("a very long handle", lambda g: {"trace": "trace-" + "0" * 10**6}, NOT_KEPT,
            status=404),
    request("at without a trace", lambda g: {"at": "end"}, "at needs"),
    request("at somewhere", at("middle"), "at must be one of"),
    request("at a list", at(["end"]), "at must be one of"),
    request("next of an ended thought", lambda g: {"trace": g.ended, "at": "next"}, "has ended"),
    request("next of no thought", lambda g: {"trace": g.plain, "at": "next"}, "has no thought"),
    request("answer of no thought", lambda g: {"trace": g.plain, "at": "answer"}, "no thought"),
    request("cut beyond", at("next", cut=10**6), "cut must be a whole number in"),
    request("cut below", at("next", cut=-1), "cut must be"),
    request("cut by a bool", at("next", cut=True), "cut must be"),
    request("cut by a float", at("next", cut=2.0), "cut must be"),
    request("cut of nothing", lambda g: {"cut": 3}, "cut needs"),
    request("keep of a number", lambda g: {"keep": 1}, "keep must be"),
    request("another method's key", at("next", noise_scale=1.0), "noise_scale"),
    request("an unknown key", at("next", tracee=1), "unknown key"),
    request("another prompt", at("next", _={"text": "What?"}), "prompt is not the trace's"),
    request("another prompt's tokens", at("next", _={"input_ids": [5, 6], "text": None}),
            "token 0 is"),
    request("too many new tokens", at("next", _={"sampling_params": {"max_new_tokens": 10**6}}),
            "1000000", "context"),
    request("a few new tokens too many", lambda g: {"trace": g.open, "at": "next", "_": {
            "sampling_params": {"max_new_tokens": 1020}}}, "max_new_tokens must be at most"),
    request("what follows is too long", at("end", _={"text": "no " * 20_000}), "context"),
    request("a seed of 2^70", at("next", _={"sampling_params": {"sampling_seed": 2**70}}),
            "invalid type"),
    request("a seed that JavaScript has not", at("next", _={
        "sampling_params": {"sampling_seed": 2**60}}), "sampling_seed"),
    request("log-probabilities from beyond", at("next", _={
        "return_logprob": True, "logprob_start_len": 9000}), "logprob_start_len"),
    request("no token at all", lambda g: {"trace": g.plain | {"prompt_ids": [], "output_ids": []}},
            "prompt_ids must not be empty"),
    request("no prompt", lambda g: {"trace": g.open | {"prompt_ids": [], "start": 0}, "at": "end"},
            "prompt_ids must not be empty"),
    *FILES,
]  # fmt: skip


def body_of(bad: Bad, good: Good, prompt: str = "") -> bytes:
    """As a client without a JSON library that minds NaN sends it."""
    soft = bad.make(good)
    more = soft.pop("_", {})
    sampling = {"temperature": 0.6, "max_new_tokens": 8} | more.pop("sampling_params", {})
    sampling["custom_params"] = {"soft_thinking": soft}
    body = {"text": prompt, "sampling_params": sampling} | more
    return json.dumps({k: v for k, v in body.items() if v is not None}).encode()
