"""Programs of SGLang's frontend language."""

from tests.mutants import mutant, replace


@mutant("what follows a soft thought reads its concept tokens",
        "tests/engine/test_lang.py -k 'on_an_engine and concept'")  # fmt: skip
def programs_read_text() -> None:
    from sglang_soft.lang import prefix

    replace(prefix, "_all", lambda _: lambda s: ())
