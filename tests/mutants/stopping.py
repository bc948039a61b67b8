"""Stopping rules: where they look, what they count, and what of them survives."""

import torch
from sglang_soft_kernels import layout

from tests.mutants import mutant, replace

STEPS = "tests/unit/test_stopping.py"
BATCH = "tests/engine/test_stop_rules.py -k 'default and one_batch'"


@mutant("a boundary is behind the token, not at it", f"{STEPS} -k behind_the_token")
def boundary_one_step_late() -> None:
    from sglang_soft.stopping.base import StopContext

    def make(original):
        def boundary(self):
            # Of the token before the last one, by the position that it has in the thought.
            self.ints = self.ints.clone()
            self.ints[:, layout.THINK_STEP] -= 1
            found = original.fget(self)
            self.ints[:, layout.THINK_STEP] += 1
            return found

        return property(boundary)

    replace(StopContext, "boundary", make)


@mutant("the first step of a thought is no boundary", f"{STEPS} -k never_at_the_first_step")
def first_step_is_a_boundary() -> None:
    from sglang_soft.stopping.base import StopContext

    def make(original):
        def boundary(self):
            return original.fget(self) | (self.think_step == 0)

        return property(boundary)

    replace(StopContext, "boundary", make)


@mutant("a rank counts what is above think-end", f"{STEPS} -k counts_what_is_above")
def rank_counts_equal_logits() -> None:
    from sglang_soft.engine import stopping

    def make(original):
        def logit_facts(logits, ints, rows, delimiters, index=None):
            facts = original(logits, ints, rows, delimiters, index)
            own = logits if index is None else logits[index]
            facts.packed[:, 1] = (own >= facts.logit[:, None]).sum(1).int()
            return facts

        return logit_facts

    replace(stopping, "logit_facts", make)


@mutant("an earlier boundary's rank counts for the later ones", f"{STEPS} -k earlier_boundaries")
def every_step_is_remembered() -> None:
    from sglang_soft.stopping.rcpd import RCPD

    def make(original):
        def step(self, context):
            stops, state = original(self, context)
            r = context.facts.rank.float()
            shifted = torch.cat([r[:, None], context.state[:, :2], state[:, 3:]], 1)
            return stops, shifted

        return step

    replace(RCPD, "step", make)


@mutant("a rule's state is that of the trace after a retraction",
        "tests/engine/test_stop_rules.py -k 'retract and state_survives'")  # fmt: skip
def state_starts_anew() -> None:
    from sglang_soft.engine.request import SoftRequest

    def make(original):
        def state(self):
            found = original.fget(self)
            return found._replace(method_state=self._first_state)

        return property(state)

    replace(SoftRequest, "state", make)


@mutant("a rule knows the last token after a retraction",
        "tests/engine/test_stop_rules.py -k 'retract and (state_survives or one_batch)'")  # fmt: skip
def last_token_forgotten() -> None:
    from sglang_soft.engine.request import SoftRequest

    def make(original):
        return property(lambda self: original.fget(self)._replace(last_token=0))

    replace(SoftRequest, "state", make)


@mutant("a boost is in the rows of its rule only", f"{STEPS} -k in_its_rows_only")
def everybody_is_boosted() -> None:
    from sglang_soft.engine.stopping import RuleStep

    def make(original):
        def adjusted(self, rules):
            has = self._has
            self._has = lambda rule: torch.ones_like(has(rule))
            try:
                return original(self, rules)
            finally:
                del self._has

        return adjusted

    replace(RuleStep, "_adjusted", make)


@mutant(
    "a boost reads the largest and the mean of what is possible", f"{STEPS} -k in_its_rows_only"
)
def forbidden_tokens_lower_the_mean() -> None:
    from sglang_soft.stopping.think_end_boost import ThinkEndBoost

    def make(original):
        def adjust(self, context):
            every = context.logits.clamp(min=-100).mean(1)
            return context.arg("boost") * (context.facts.largest - every)

        return adjust

    replace(ThinkEndBoost, "adjust", make)


@mutant("a rule counts before Cold Stop and the bound, the method before the rule",
        f"{STEPS} -k the_method_counts_before")  # fmt: skip
def rule_counts_last() -> None:
    from sglang_soft.engine import step

    def make(original):
        def finish_step(*args, stops=None, **kwargs):
            ints, floats = args[5], args[6]
            cold = args[3] < floats[:, layout.COLD_STOP_ENTROPY]
            bound = ints[:, layout.THINK_STEP] >= ints[:, layout.MAX_THINKING_TOKENS]
            stops = None if stops is None else stops & ~cold & ~bound
            return original(*args, stops=stops, **kwargs)

        return finish_step

    replace(step, "finish_step", make)


@mutant("rules of a batch decide for their own rows", BATCH)
def any_rule_of_the_batch_decides() -> None:
    from sglang_soft.engine.stopping import RuleStep

    def make(original):
        def stops(self, sample):
            forced, after = original(self, sample)
            return None if forced is None else forced | forced.any(), after

        return stops

    replace(RuleStep, "stops", make)


@mutant("a median is the mean of the middle two", f"{STEPS} -k median")
def lower_median() -> None:
    from sglang_soft.stopping import leash

    def make(original):
        def median(values, count):
            slots = torch.arange(values.shape[1])
            ordered = torch.where(slots < count[:, None], values, torch.inf).sort(1).values
            return ordered.gather(1, ((count.long() - 1) // 2)[:, None])[:, 0]

        return median

    replace(leash, "_median", make)


@mutant("another rule begins with its first state", "tests/unit/test_stop_keys.py -k what_state")
def any_state_goes_on() -> None:
    from sglang_soft.stopping import keys

    replace(keys, "same_rule", lambda _: lambda params, trace_params: True)


@mutant("the fork's keys next to a rule are refused", "tests/unit/test_stop_keys.py -k errors_name")
def short_keys_are_dropped() -> None:
    from sglang_soft.stopping import keys

    def make(original):
        def take_short(values, given):
            if "stop" in values:
                for key in keys.COLD_STOP:
                    values.pop(key, None)
            original(values, given)

        return take_short

    replace(keys, "take_short", make)
