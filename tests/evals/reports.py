"""Reading reports in the tests."""

from collections import Counter
from html.parser import HTMLParser


def table(markdown: str, first: str, second: str) -> dict[str, dict[str, str]]:
    """The Markdown table that begins with these columns: row name -> column -> cell."""
    lines = markdown.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} | {second}"))
    header = lines[start].strip("| ").split(" | ")
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
        rows[cells[0]] = dict(zip(header, cells, strict=True))
    return rows


class Page(HTMLParser):
    """Ids, links, unclosed tags and everything that would be fetched."""

    VOID = {"meta", "br", "link", "img"}

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags[tag] += 1
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if tag == "a" else []
        self.fetched += [
            v for k, v in attrs if k in ("src", "data") or (k == "href" and tag == "link")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()
