"""Who sees the page, and what of a thought a person sees."""

from tests.mutants import mutant, replace


@mutant("a name that an attacker points at this machine gets no page",
        "tests/view/test_access.py -k not_of_this_machine")  # fmt: skip
def any_host_name() -> None:
    from sglang_soft.view import access

    replace(access, "_without_port", lambda _: lambda host: "localhost")


@mutant("a proxy on this machine gets no page", "tests/view/test_access.py -k proxy")
def proxies_trusted() -> None:
    from sglang_soft.view import access

    replace(access, "_FORWARDED", lambda _: ())


@mutant("the page alone needs no key", "tests/view/test_access.py -k no_key")
def everything_of_ours_needs_no_key() -> None:
    from sglang_soft.view import routes

    replace(
        routes, "needs_no_key", lambda _: lambda method, path: path.startswith("/soft_thinking")
    )


@mutant("a part of a character is shown as its bytes", "tests/view/test_texts.py -k byte_level")
def half_characters_lost() -> None:
    from sglang_soft.view import texts

    replace(texts, "_bytes_of", lambda _: lambda name: None)
