"""KV of concept tokens is reachable only through the same concept tokens."""

from tests.mutants import mutant, replace

ISOLATION = "tests/engine/test_isolation.py"


@mutant("KV of concept tokens is reachable only through them", f"{ISOLATION} -k cannot_reach")
def output_id_for_cache_key() -> None:
    from sglang_soft.engine.request import SoftRequest

    replace(SoftRequest, "write_cache_keys", lambda _: lambda self, fill_ids, rid: None)


@mutant("a step that the host does not know cannot be matched", f"{ISOLATION} -k last_step")
def last_step_under_its_output_id() -> None:
    from sglang_soft.engine.request import SoftRequest

    def make(original):
        def write(self, fill_ids, rid):
            before = list(fill_ids[self.committed :])
            original(self, fill_ids, rid)
            for at, token in enumerate(before, self.committed):
                fill_ids[at] = token

        return write

    replace(SoftRequest, "write_cache_keys", make)


@mutant("equal mixtures with other offsets do not share KV", "tests/unit/test_request.py")
def offset_not_in_the_key() -> None:
    from sglang_soft.engine import cache_keys

    def make(original):
        return lambda ids, weights, offset=b"": original(ids, weights)

    replace(cache_keys, "cache_key", make)
