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


@mutant("what a model emits drives no terminal", "tests/terminal/test_flow.py -k drive")
def escape_sequences_pass() -> None:
    from sglang_soft.view import visible

    replace(visible, "name", lambda _: lambda character: None)


@mutant("a character of several tokens becomes whole", "tests/terminal/test_flow.py -k whole")
def bytes_are_shown_one_by_one() -> None:
    from sglang_soft.terminal.flow import Flow

    replace(Flow, "_span", lambda _: lambda self, piece, of: iter([of._replace(text=piece.text)]))


@mutant("a character that no font has is named", "tests/view/test_figure.py -k cells")
def fonts_have_every_glyph() -> None:
    from sglang_soft.view.figure import _Font

    replace(_Font, "drawable", lambda _: lambda self, text: text)
