"""Host-side state of one soft request, in the scheduler.

Its trace is the truth that a retracted request restarts from; device rows (`pool.py`) run ahead of
it by the steps that are in flight. Positions count from the first token of the prompt.
"""

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from sglang_soft_kernels.layout import KIND_SHIFT, Phase, StepKind, tail_state
from sglang_soft_kernels.sequences import advance, failure

from sglang_soft import methods, stopping
from sglang_soft.engine import rollout
from sglang_soft.engine.cache_keys import cache_keys, unmatchable_cache_key
from sglang_soft.methods.noise import sample_seed
from sglang_soft.params import Given, RequestParams
from sglang_soft.trace import FINISH_REASONS, THINK_END_REASONS, Steps, StepsDelta, Trace
from sglang_soft.trace.cutting import same_segment
from sglang_soft.trace.steps import Rows

_ONE: np.ndarray = np.ones(1, np.float32)
_PHASE_NAMES = ("before", "thinking", "answering")
_KINDS = {reason: kind for kind, reason in THINK_END_REASONS.items()}
_PHASES = {Phase.THINK: "thinking", Phase.ANSWER: "answering"}


class ThinkingState(NamedTuple):
    """Where a request stands: what its device row starts from, at the first prefill, after a
    retraction, or when a trace is continued."""

    phase: Phase
    low_entropy_steps: int
    """Cold Stop's count of consecutive confident steps."""
    think_step: int
    """Thinking steps so far."""
    method_state: np.ndarray
    """[S] float32: of the method, then of the stopping rule"""
    match: int
    """Tokens of think-start or think-end that the output ends with."""
    tail: int
    """Where a forced end stands: `layout.tail_state`."""
    last_token: int = -1
    """The last output token; -1: there is none."""

    @classmethod
    def of(cls, trace: Trace, last_token: int = -1) -> "ThinkingState":
        phase = Phase.WAIT if trace.start is None else Phase.THINK
        if trace.ended_by_think_end:
            phase = Phase.ANSWER
        tail = 0
        if trace.tail_reason is not None:
            tail = tail_state(trace.tail_step, _KINDS[trace.tail_reason])
        return cls(
            phase, trace.low_entropy_steps, trace.thinking_tokens, trace.method_state,
            trace.delimiter_match, tail, last_token,
        )  # fmt: skip


class LogitsRead:
    """Logits of a request's positions, on the host, as prefills bring them."""

    def __init__(self, first: int, stop: int) -> None:
        """Positions [first, stop)."""
        self.first, self.stop = first, stop
        self.logits: np.ndarray = np.zeros((0, 0), np.float32)
        """[stop - first, V] float32"""
        self.hidden: np.ndarray = np.zeros((0, 0), np.float32)
        """[stop - first, H] float32: last hidden states, after the final norm."""

    def put(self, position: int, logits: np.ndarray, hidden: np.ndarray) -> None:
        """Rows of consecutive positions, [n, V] and [n, H]."""
        if not self.logits.size:
            count = self.stop - self.first
            self.logits = np.zeros((count, logits.shape[1]), np.float32)
            self.hidden = np.zeros((count, hidden.shape[1]), np.float32)
        rows = slice(position - self.first, position - self.first + len(logits))
        self.logits[rows], self.hidden[rows] = logits, hidden


class SoftRequest:
    """A soft request: its parameters, its trace, its cache keys, and what the client has seen."""

    def __init__(self, request: RequestParams, prompt_len: int) -> None:
        """prompt_len: tokens of the prompt."""
        self.request = request
        self.params = request.params
        self.method = methods.get(request.method)
        self.args = self.method.args(request.params)
        """The method's own parameters as numbers."""
        rule = stopping.of(request.params.stop)
        self.rule = None if rule is None or rule.fused else rule
        """The stopping rule, if it has steps of its own."""
        self.rule_args: tuple[float, ...] = ()
        """Its parameters as numbers."""
        if self.rule is not None and request.params.stop is not None:
            self.rule_args = self.rule.args(request.params.stop)
        self._first_state = np.asarray([*self.method.state, *self._rule_state], np.float32)
        at = methods.state_columns()
        self._state_columns: np.ndarray = np.array(
            [*range(len(self.method.state)), *range(at, at + len(self._rule_state))], np.int64
        )
        """Of a step's record."""
        self.last_token = -1 if request.given is None else request.given.last_token
        """The last output token that was committed; -1: there is none."""
        self.noise_seed = sample_seed(request.seed, request.sample)
        self._keys: dict[int, array] = {}
        """Cache keys of the first concepts of each column of steps, by its `id`; computed when they
        are needed."""
        self.trace = self._first_trace(prompt_len)
        self.given_steps, self.given_tokens = 0, 0
        """Steps and output tokens that came with a trace."""
        if request.given is not None:
            self._take(request.given)
            self.given_steps = len(self.trace.steps)
            self.given_tokens = prompt_len - request.given.prompt_len
            # The columns have a copy of its own.
            taken = Given(request.given.prompt_len, None)
            self.request = request = msgspec.structs.replace(request, given=taken)
        self.reading: LogitsRead | None = None
        """Set where the request reads logits and generates nothing."""
        if request.reads_from is not None:
            self.reading = LogitsRead(request.reads_from, prompt_len)
        self.prompt_len = prompt_len
        self.committed = prompt_len
        """Position of the next token that `commit` will see. In the answer, where commits change
        nothing, it is not kept up."""
        self.steps_sent = 0
        """Steps that the client's process has."""
        self._borders = {s: failure(s) for s in (request.think_start, request.think_end)}
        starts = (self.trace.prompt_start, self.trace.start, prompt_len)
        self._first = min(start for start in starts if start is not None)
        """The first position that may have a cache key."""
        self._named = self._first
        """Positions below it carry their final key in SGLang's fill ids."""
        self._abandoned_prompt: Sequence[int] | None = None
        """Set by `abandon`."""

    @property
    def _rule_state(self) -> tuple[float, ...]:
        """The first state of the stopping rule."""
        return () if self.rule is None else self.rule.state

    def _first_trace(self, prompt_len: int) -> Trace:
        request = self.request
        return Trace(
            method=request.method,
            steps=Steps(
                self.k,
                weight_bits=request.params.weight_bits or 0,
                extra=self._widths,
            ),
            start=prompt_len if request.starts_thinking else None,
            method_state=self._first_state,
            # The thinking phase's sampling as it is used, whether the client gave it or not.
            params=msgspec.to_builtins(request.params)
            | request.thinking._asdict()
            | {
                "max_new_tokens": request.max_new_tokens,
                "eos_ids": list(request.eos_ids),
                "closing_ids": list(request.closing),
            },
            seed=self.noise_seed if self.method.stochastic else None,
        )

    @property
    def _widths(self) -> dict[str, int]:
        """Of the trace's extra columns."""
        rows = rollout.columns(self.method, self.params, self.k)
        return rows | {"states": len(self._first_state)}

    def _take(self, given: Given) -> None:
        """Go on from a trace."""
        trace = self.trace
        if given.prompt_steps is not None:
            trace.prompt_start = given.prompt_steps.start
            trace.prompt_steps = Steps.of(given.prompt_steps, given.prompt_steps.k)
            self._keys[id(trace.prompt_steps)] = array("q", given.prompt_keys)
        if given.steps is None:
            return
        one_grid = given.weight_bits == (self.params.weight_bits or 0)
        if given.steps.steps:
            k = max(self.k, given.steps.k)
            trace.steps = Steps.of(given.steps, k, given.weight_bits if one_grid else 0)
            self._keys[id(trace.steps)] = array("q", given.keys)
            for name, width in self._widths.items():
                trace.steps.use_extra(name, width)
        trace.end_weights = np.frombuffer(given.end_weights, np.float32)
        trace.start = given.steps.start
        trace.thinking_finish_reason = given.thinking_finish_reason
        trace.low_entropy_steps = given.low_entropy_steps
        if len(given.method_state) == len(trace.method_state):
            trace.method_state = np.asarray(given.method_state, np.float32)
        trace.delimiter_match = given.delimiter_match
        trace.tail_step, trace.tail_reason = given.tail_step, given.tail_reason
        own = {name: getattr(trace, name) for name in ("method", "params", "seed")}
        # Without the one of a request that went on and made no step.
        made = [s for s in given.segments if s["step"] < len(trace.steps)]
        if not made:
            return
        if not same_segment(made[-1], own):
            trace.segments = [*made, {"step": len(trace.steps), **own}]
        elif len(made) > 1 or not one_grid:
            trace.segments = made

    @property
    def k(self) -> int:
        """Slots that its concept tokens may use."""
        return self.params.max_topk + self.method.extra_slots

    @property
    def state(self) -> ThinkingState:
        state = ThinkingState.of(self.trace, self.last_token)
        return state._replace(phase=Phase.ANSWER) if self.request.only_answers else state

    @property
    def phase(self) -> Phase:
        if self._abandoned_prompt is not None or self.request.only_answers:
            return Phase.ANSWER
        if self.trace.start is None:
            return Phase.WAIT
        return Phase.ANSWER if self.trace.ended_by_think_end else Phase.THINK

    # After each step

    def commit(
        self, token: int, kind: int, ids: np.ndarray, weights: np.ndarray, entropy: float,
        low_entropy: int, state: np.ndarray, offset: bytes = b"", tail: int = 0,
        extra: Rows | None = None,
    ) -> None:  # fmt: skip
        """One output token became visible. All but `token` counts for thinking steps only.

        ids, weights: [>= k] of this batch; state: [S], of which the request's own part is kept;
        offset: [H] in the model's dtype, as bytes; tail: `layout.tail_state` after the step;
        extra: of a roll-out, `rollout.columns`.
        """
        self.committed += 1
        self.last_token = token
        trace = self.trace
        if kind == StepKind.PLAIN:
            if trace.start is None:
                match = self._match(self.request.think_start, token)
                if match and match == len(self.request.think_start):
                    trace.start, match = self.committed, 0
                trace.delimiter_match = match
            return
        assert self.phase == Phase.THINK, f"thinking step in phase {self.phase.name}"
        if kind in (StepKind.CONCEPT, StepKind.CLOSING):
            k = self.k
            offset = offset if kind == StepKind.CONCEPT else b""
            trace.steps.append(ids[:k], weights[:k], entropy, offset, self._columns(state, extra))
            trace.delimiter_match = self._match(self.request.think_end, token)
            assert trace.delimiter_match < len(self.request.think_end), "a whole think-end goes on"
            trace.tail_step = tail % KIND_SHIFT
            trace.tail_reason = THINK_END_REASONS[StepKind(tail // KIND_SHIFT)] if tail else None
        else:  # the last token of think-end is fed as itself
            one = np.array([token], np.int32)
            trace.steps.append(one, _ONE, entropy, extra=self._columns(state, extra))
            trace.end_weights = rollout.end_weights(self.method, extra, ids, weights)
            trace.thinking_finish_reason = THINK_END_REASONS[StepKind(kind)]
            trace.delimiter_match, trace.tail_step, trace.tail_reason = 0, 0, None
        trace.low_entropy_steps = low_entropy
        if len(self._first_state):
            trace.method_state = state[self._state_columns]

    def _columns(self, state: np.ndarray, extra: Rows | None) -> Rows:
        """Values of the trace's extra columns. state: [>= S]; extra: of a roll-out."""
        own = {"states": state[self._state_columns]} if len(self._first_state) else {}
        return dict(extra or {}) | own

    def _match(self, sequence: tuple[int, ...], token: int) -> int:
        """Tokens of `sequence` that the output ends with after `token`."""
        return advance(sequence, self._borders[sequence], self.trace.delimiter_match, token)

    def abandon(self, prompt_ids: Sequence[int]) -> None:
        """The request ends without a step of its own. prompt_ids: what it was asked."""
        self._abandoned_prompt = prompt_ids

    def count_retractions(self, retractions: int) -> None:
        """Called at every prefill, with SGLang's count of retractions so far."""
        counted = self.trace.retractions
        name = _PHASES.get(self.phase, "before")
        more = retractions - sum(counted.values())
        if more:
            counted[name] = counted.get(name, 0) + more

    # Where stop conditions act

    def answer_tokens(self, outputs: int) -> int | None:
        """Of so many output tokens those after think-end; None: the thought has not ended."""
        trace = self.trace
        if trace.start is None or not trace.ended_by_think_end:
            return None
        return outputs - (trace.start - self.prompt_len) - len(trace.steps)

    def ends_thought(self, token: int) -> bool:
        """Whether `token`, which is committed next, completes think-end."""
        end = self.request.think_end
        return self.phase == Phase.THINK and self._match(end, token) == len(end)

    def stop_window(self, outputs: int) -> int | None:
        """How many of the last output tokens stop strings may match; None: any."""
        if self.params.thinking_stop == "everywhere" or self.phase == Phase.WAIT:
            return None
        return 0 if self.phase == Phase.THINK else self.answer_tokens(outputs)

    # Cache keys

    def write_cache_keys(self, fill_ids: array, rid: str) -> None:
        """Put cache keys in place of the output ids of concept tokens in `fill_ids` (prompt, then
        output).

        SGLang asks for keys while the last step of a finished request is committed but not yet
        consumed. If that may be a concept token, it gets a key that nothing can match.
        """
        stop = len(fill_ids)
        for positions, steps, rows in self.trace.fed(self._named, stop):
            fill_ids[positions.start : positions.stop] = self._keys_until(steps, rows.stop)[rows]
        if self.phase == Phase.THINK:
            for position in range(self.committed, stop):
                fill_ids[position] = unmatchable_cache_key(rid, position)
        self._named = min(self.committed, stop)

    def rewrite_cache_keys(self) -> None:
        """SGLang built its fill ids anew: every key has to be written again."""
        self._named = self._first

    def _keys_until(self, steps: Steps, stop: int) -> array:
        keys = self._keys.setdefault(id(steps), array("q"))
        keys.extend(cache_keys(steps, len(keys), stop))
        return keys

    # What the client reads

    def take_delta(self) -> StepsDelta:
        """The steps since the last call."""
        delta = self.trace.steps.delta(self.steps_sent, self.trace.start)
        self.steps_sent = len(self.trace.steps)
        return delta

    def finish(self, prompt_ids: Sequence[int], output_ids: Sequence[int], reason: str) -> None:
        """The request has ended: complete the trace. reason: what ended it, which counts where it
        was thinking."""
        trace = self.trace
        if self._abandoned_prompt is not None:
            prompt_ids, output_ids = self._abandoned_prompt, ()
        first = len(prompt_ids) - self.given_tokens
        trace.prompt_ids = np.asarray(prompt_ids[:first], np.int32)
        trace.output_ids = np.asarray([*prompt_ids[first:], *output_ids], np.int32)
        if trace.start is not None and not trace.ended_by_think_end:
            trace.thinking_finish_reason = reason if reason in FINISH_REASONS else "stop"

    def summary(self) -> dict[str, Any]:
        """`meta_info.soft_thinking` of a finished request, the trace aside."""
        trace = self.trace
        steps = len(trace.steps)
        sizes = np.count_nonzero(trace.weights[: trace.thinking_tokens], axis=1)
        before = len(trace.prompt_ids) if trace.start is None else trace.start
        entropy = trace.entropy
        return {
            "method": trace.method,
            **({} if trace.seed is None else {"seed": trace.seed}),
            "thinking_tokens": trace.thinking_tokens,
            "answer_tokens": len(trace.prompt_ids) + len(trace.output_ids) - before - steps,
            "thinking_finish_reason": trace.thinking_finish_reason,
            "mean_concept_size": float(sizes.mean()) if len(sizes) else None,
            "mixed_share": float((sizes > 1).mean()) if len(sizes) else None,
            **({} if self.request.given is None else {"given": self._given()}),
            "retractions": {name: trace.retractions.get(name, 0) for name in _PHASE_NAMES},
            "mean_entropy": float(entropy.mean(dtype=np.float64)) if steps else None,
            "final_entropy": float(entropy[-1]) if steps else None,
        }

    def _given(self) -> dict[str, int]:
        return {"steps": self.given_steps, "output_tokens": self.given_tokens}

    def check(self) -> None:
        """Assert that the parts agree with each other; called when the scheduler is idle."""
        trace = self.trace
        own = self._abandoned_prompt is None and self.reading is None
        if trace.start is not None and own:
            assert self.prompt_len - self.given_tokens <= trace.start
            if not trace.ended_by_think_end and not self.request.only_answers:
                assert self.committed == trace.start + len(trace.steps)
        assert len(self._keys.get(id(trace.steps), ())) <= len(trace.steps)
        assert self.steps_sent <= len(trace.steps)
