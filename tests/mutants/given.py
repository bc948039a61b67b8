"""A request that goes on from a trace is what the request would have been that never stopped."""

from tests.mutants import mutant, replace

CONTINUE = "tests/engine/test_continue.py"
CUT, AFTER = f"{CONTINUE} -k 'default and cut_thought_goes'", f"{CONTINUE} -k 'default and answer'"


@mutant("a thought goes on at its own step, with its own noise", CUT)
def continued_thought_counts_from_0() -> None:
    from sglang_soft.engine.request import SoftRequest, ThinkingState

    def make(_):
        return property(lambda self: ThinkingState.of(self.trace)._replace(think_step=0))

    replace(SoftRequest, "state", make)


@mutant("a cut thought has the method's state of its step", CUT)
def cut_thought_has_the_last_state() -> None:
    from sglang_soft.trace import cutting

    replace(cutting, "method_state", lambda _: lambda trace, steps: trace.method_state)


@mutant("a cut thought has Cold Stop's count of its step", CUT)
def cut_thought_has_no_count() -> None:
    from sglang_soft.trace import cutting

    replace(cutting, "low_entropy_steps", lambda _: lambda trace, params, steps: 0)


@mutant("an earlier thought in the prompt is fed", AFTER)
def earlier_thought_is_fed_as_text() -> None:
    from sglang_soft.trace import Trace

    def make(original):
        def fed(self, start, stop):
            return [s for s in original(self, start, stop) if s.steps is not self.prompt_steps]

        return fed

    replace(Trace, "fed", make)


@mutant("KV of a prompt with concept tokens is freed once", CUT, "pool memory leak detected")
def prompt_is_split_by_token_ids() -> None:
    from sglang_soft.hooks import radix_cache

    def make(_):
        return lambda original, self, req, *args, **kwargs: original(self, req, *args, **kwargs)

    replace(radix_cache, "checkpoint_into_tree", make)


@mutant("a handle works for its own tenant only", "tests/unit/test_kept.py")
def handle_of_somebody_else() -> None:
    from sglang_soft.server.kept import KeptTraces

    def make(original):
        def get(self, handle, tenant=(None, None)):
            kept = self._kept.get(handle)
            return original(self, handle, kept.tenant if kept else tenant)

        return get

    replace(KeptTraces, "get", make)


@mutant("answers that arrive together compute their thought once",
        "tests/engine/test_fork.py -k 'batch and default'")  # fmt: skip
def every_answer_computes_the_thought() -> None:
    from sglang_soft.hooks import prefill_adder

    replace(prefill_adder, "_computed_until", lambda _: lambda req: 0)
