"""The client: what it sends, and what it makes of a stream."""

from tests.mutants import mutant, replace

STREAMS, CALLS = "tests/client/test_streams.py", "tests/client/test_calls.py"


@mutant("a stream's text comes once, cumulative or not", f"{STREAMS} -k 'come_once and False'")
def stream_is_always_cumulative() -> None:
    from sglang_soft.client import stream

    def make(original):
        def generated(self, event):
            return original(self, event | {"output_ids": 2 * event["output_ids"]})

        return generated

    replace(stream.Reading, "_generated", make)


@mutant("a stream that breaks off is an error", f"{STREAMS} -k breaks_off")
def half_an_answer() -> None:
    from sglang_soft.client import stream

    def make(original):
        def feed(self, data):
            self._done = True
            return original(self, data)

        return feed

    replace(stream.Reading, "feed", make)


@mutant("a fork does not bring the trace along for each answer", f"{CALLS} -k fork")
def fork_brings_traces() -> None:
    from sglang_soft.client import calls

    def make(original):
        return lambda thought, samples, options: original(
            thought, samples, {"concepts": True, **options}
        )

    replace(calls, "fork", make)
