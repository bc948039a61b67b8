"""The stopping rules of one step, for the requests that have one. Batches without are not here.

Shapes: N rows of the batch, A rows that may think, V vocabulary, S columns of a rule's state.
"""

from functools import cached_property

import torch
from sglang_soft_kernels import LogitFacts, SoftSample, layout, logit_facts
from sglang_soft_kernels.index import identity
from sglang_soft_kernels.layout import Phase

from sglang_soft import stopping
from sglang_soft.engine.inputs import StepInputs
from sglang_soft.engine.pool import Rows
from sglang_soft.stopping import StopContext, StopRule


class Logits:
    """The logits of a step, [N, V], and what rules ask of them."""

    def __init__(self, inputs: StepInputs, rows: Rows, logits: torch.Tensor) -> None:
        self.all = logits
        self._inputs, self._rows = inputs, rows

    @cached_property
    def thinking(self) -> torch.Tensor:
        """[A, V]"""
        index = self._inputs.index
        return self.all if index is None else self.all[index]

    @cached_property
    def facts(self) -> LogitFacts:
        inputs = self._inputs
        assert inputs.rows is not None
        return logit_facts(
            self.all, self._rows.ints, inputs.rows, inputs.pool.delimiters, inputs.index
        )


class RuleStep:
    """One step of the stopping rules of a batch."""

    def __init__(self, inputs: StepInputs, rows: Rows, logits: torch.Tensor) -> None:
        """logits: [N, V], not modified."""
        self._inputs, self._rows = inputs, rows
        self._mine: dict[str, torch.Tensor] = {}
        self._given = self._read = Logits(inputs, rows, logits)
        if adjusting := [rule for rule in inputs.rules if rule.adjusts]:
            self._read = Logits(inputs, rows, self._adjusted(adjusting))

    @property
    def logits(self) -> torch.Tensor:
        """[N, V]: what the step reads."""
        return self._read.all

    def _adjusted(self, rules: list[StopRule]) -> torch.Tensor:
        """A copy in which the logit of think-end is adjusted in the rows that think by a rule which
        does so; all other logits are the same bits."""
        ints, facts, change = self._rows.ints, self._given.facts, None
        thinks = ints[:, layout.PHASE] == Phase.THINK
        for rule in rules:
            own = torch.where(
                thinks & self._has(rule), rule.adjust(self._context(rule, self._given)), 0.0
            )
            change = own if change is None else change + own
        assert change is not None
        index = self._inputs.index
        members = identity(len(ints), ints.device) if index is None else index
        logits = self._given.all.clone()
        logits.index_put_((members, facts.token.long()), facts.logit + change)
        return logits

    def stops(self, sample: SoftSample) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Whether each row's rule forces think-end, [A] bool (None: no rule of the batch does), and
        the rules' state after the step, [A, S] float32 (None: none has any)."""
        forced = None
        size = max(len(rule.state) for rule in self._inputs.rules)
        after = self._rows.rule_state[:, :size] if size else None
        for rule in self._inputs.rules:
            if not rule.stops:
                continue
            # What an adjusting rule of another row changed is not read here.
            logits = self._read if rule.adjusts else self._given
            found, state = rule.step(self._context(rule, logits, sample))
            mine = self._has(rule)
            forced = found & mine if forced is None else torch.where(mine, found, forced)
            if state is not None and after is not None:
                missing = size - state.shape[1]
                state = torch.nn.functional.pad(state, (0, missing)) if missing else state
                after = torch.where(mine[:, None], state, after)
        return forced, after

    def _has(self, rule: StopRule) -> torch.Tensor:
        """[A] bool: rows whose rule this is."""
        if rule.name not in self._mine:
            number = stopping.number(rule.name)
            self._mine[rule.name] = self._rows.ints[:, layout.STOP_RULE] == number
        return self._mine[rule.name]

    def _args(self, rule: StopRule) -> torch.Tensor:
        """[A, P] float32: what other rules' rows have there may be out of range for this one."""
        args = self._rows.rule_args[:, : len(rule.arg_names)]
        return torch.where(self._has(rule)[:, None], args, self._inputs.pool.idle_args(rule))

    def _context(
        self, rule: StopRule, logits: Logits, sample: SoftSample | None = None
    ) -> StopContext:
        pool, V = self._inputs.pool, logits.all.shape[1]
        return StopContext(
            logits=lambda: logits.thinking,
            facts=lambda: logits.facts,
            ints=self._rows.ints,
            args=self._args(rule),
            state=self._rows.rule_state[:, : len(rule.state)],
            names=rule.arg_names,
            token_classes=lambda names: pool.token_classes(names, V),
            sample=sample,
        )


def read_by(inputs: StepInputs, logits: torch.Tensor) -> torch.Tensor:
    """[N, V]: what the step of a batch reads of the model's logits."""
    if not inputs.rules:
        return logits
    assert inputs.rows is not None
    return RuleStep(inputs, inputs.pool.gather(inputs.rows), logits).logits


def joined(method: torch.Tensor | None, rule: torch.Tensor, first: int) -> torch.Tensor:
    """Columns of a record's state: that of the method, and from column `first` on the rule's."""
    if method is None:
        method = rule[:, :0]
    missing = first - method.shape[1]
    return torch.cat([torch.nn.functional.pad(method, (0, missing)), rule], 1)
