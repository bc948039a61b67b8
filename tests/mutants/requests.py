"""A request harms nobody and is answered in full."""

from tests.mutants import mutant, replace


@mutant("only the assistant's own block opens a thought", "tests/unit/test_think_tokens.py")
def any_think_token_opens() -> None:
    from sglang_soft.server.think_tokens import PromptEnd

    def make(_):
        def is_open(self, prompt_ids):
            start, end = (tokens[-1] if tokens else -1 for tokens in self._tokens)
            return next(
                (token == start for token in reversed(prompt_ids) if token in (start, end)), False
            )

        return is_open

    replace(PromptEnd, "is_open", make)


@mutant("a value that nobody validated reaches no kernel",
        "tests/unit/test_resolve.py -k no_front_end")  # fmt: skip
def ranges_of_the_front_end_trusted() -> None:
    from sglang_soft import resolve

    def make(original):
        return lambda text, max_k, vocab_size: original(text, 10**6, 10**6)

    replace(resolve, "decode", make)


@mutant("a request that ends before it ran has no thought",
        "tests/unit/test_merely_installed.py -k before_it_ran")  # fmt: skip
def abandoned_requests_think() -> None:
    from sglang_soft.engine.request import SoftRequest

    replace(SoftRequest, "abandon", lambda _: lambda self, prompt_ids: None)


@mutant("an abort in a queue is answered with every field", "tests/engine/test_aborts.py -k queue")
def aborts_in_a_queue_as_sglang_has_them() -> None:
    from sglang_soft.hooks import scheduler

    replace(scheduler, "send_abort_output", lambda _: lambda original, *args: original(*args))


@mutant("the table is measured again when its weights have changed",
        "tests/engine/test_weight_updates.py")  # fmt: skip
def old_measurements_kept() -> None:
    from sglang_soft.engine.embedding import SoftModel

    replace(SoftModel, "measure", lambda _: lambda self: None)
