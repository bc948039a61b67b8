"""The page of a thought."""

from tests.mutants import mutant, replace


@mutant("no text ends the block of data", "tests/view/test_data.py -k ends_the_block")
def texts_may_end_the_block() -> None:
    from sglang_soft.view import page

    class Unescaped(bytes):
        def replace(self, *args):  # type: ignore[override]
            return self

    original = page.orjson.dumps
    page.orjson = type("orjson", (), {
        "dumps": staticmethod(lambda *args, **kwargs: Unescaped(original(*args, **kwargs))),
        "OPT_SERIALIZE_NUMPY": page.orjson.OPT_SERIALIZE_NUMPY,
    })  # fmt: skip


@mutant("a page in a file asks nobody", "tests/view/test_built.py -k own_host")
def files_may_ask() -> None:
    from sglang_soft.view import page

    def make(original):
        return lambda data: original(data).replace("connect-src 'none'; b", "connect-src 'self'; b")

    replace(page, "file_html", make)


@mutant("the built page is that of its sources", "tests/view/test_built.py -k these_sources")
def old_page() -> None:
    from sglang_soft.view import page

    replace(page, "live_html", lambda original: lambda: original().replace(
        'name="sources" content="', 'name="sources" content="' + "0" * 64 + '"><i "'))  # fmt: skip


@mutant("unused slots of a step have no text", "tests/view/test_data.py -k unused")
def unused_slots_count() -> None:
    from sglang_soft.view import data

    def make(original):
        def tokens(traces):
            traces = list(traces)
            return sorted({0, *original(traces)})

        return tokens

    replace(data, "tokens_of", make)


@mutant("a tokenizer of another model is refused", "tests/view/test_command.py -k another")
def any_tokenizer() -> None:
    from sglang_soft.view import sources

    replace(sources.Local, "is_of", lambda _: lambda self, trace: True)


def _with_script(change) -> None:
    """The built page with another script, which its policy lets run."""
    import base64
    import hashlib

    from sglang_soft.view import page

    def digest(script: str) -> str:
        return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    def make(original):
        def html() -> str:
            built = original()
            start = built.rindex("<script>") + len("<script>")
            script = built[start : built.rindex("</script>")]
            other = change(script)
            assert other != script, "the mutant is out of date"
            return built.replace(digest(script), digest(other)).replace(script, other)

        return html

    replace(page, "live_html", make)


FILE = "tests/view/test_file_page.py"


@mutant("what a model emits is put into the page as text", f"{FILE} -k runs_nothing")
def text_is_interpreted() -> None:
    import re

    html = r"\1.insertAdjacentHTML('beforeend', \2.text)"
    _with_script(lambda script: re.sub(r"(\w+)\.append\((\w+)\.text\)", html, script))


@mutant("signs that cannot be seen are written out", f"{FILE} -k runs_nothing")
def bidirectional_marks_stay() -> None:
    _with_script(lambda script: script.replace("\\p{Cf}", ""))


@mutant("only the rows in sight are in the document", f"{FILE} -k 32000")
def every_row_is_drawn() -> None:
    _with_script(lambda script: script.replace("overscan:4,", "overscan:1e9,"))
