"""A page as a browser takes it apart: its elements with attributes and texts, from the standard library's parser."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_VOID = frozenset({"meta", "input", "rect", "img", "br", "link"})


@dataclass
class Element:
    """One element; ``text`` has that of the elements in it, too."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    parents: "list[Element]" = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]


class Page(HTMLParser):
    """The elements of a page, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(self.source)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, parents=list(self._open))
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}, parents=list(self._open)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        """Return every element of a kind."""
        return [one for one in self.elements if one.tag == tag]

    def only(self, tag: str) -> Element:
        """Return the one element of a kind."""
        (one,) = self.all(tag)
        return one

    def card(self, key: str, *, section: str = "films") -> Element:
        """Return the card of a film, or of a prompt that is still to be made."""
        (title,) = (
            one
            for one in self.all("h3")
            if one.text == key and any(parent.attributes.get("id") == section for parent in one.parents)
        )
        return next(parent for parent in reversed(title.parents) if parent.tag == "article")

    def inside(self, card: Element, tag: str) -> list[Element]:
        """Return the elements of a kind in another one."""
        return [one for one in self.all(tag) if card in one.parents]

    @property
    def policy(self) -> dict[str, str]:
        """The content security policy, by directive."""
        (meta,) = (one for one in self.all("meta") if one.attributes.get("http-equiv") == "Content-Security-Policy")
        return dict(rule.strip().split(" ", 1) for rule in meta["content"].split(";"))
