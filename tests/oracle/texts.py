"""Words, minutes and level of a text by the rules of docs/content.md: read letter by letter."""

import html
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

_BLOCKS = {
    *(
        "address",
        "article",
        "aside",
        "blockquote",
        "br",
        "caption",
        "dd",
        "div",
        "dl",
        "dt",
        "figcaption",
        "figure",
    ),
    *(
        "footer",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
    ),
    *("table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
}
_CJK = ((0x3005, 0x3005), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
_JOINS = "'\u2019-"
_QUOTES = "\"'\u2019\u201d)"


def measures(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a block's content: of its Markdown where it has one, else of its HTML."""
    markdown = content.get("markdown")
    text = _plain(content.get("html") or "") if markdown is None else of_markdown_text(markdown)
    lines = [line for line in text.splitlines() if list(_words(line))]
    words = [word for line in lines for word in _words(line)]
    sentences = sum(map(_sentences, lines))
    return {
        "word_count": len(words),
        "reading_time": -(-len(words) // 238),
        "complexity_level": _level(sum(map(len, words)), len(words), sentences),
    }


def of_markdown_text(markdown: str) -> str:
    """Its paragraphs, headings and list items, one a line."""
    prose, fence = [], ""
    for line in markdown.splitlines():
        mark = _fence(line)
        if mark and not fence:
            fence = mark
        elif fence:
            if mark.startswith(fence) and not line.strip(" " + mark[0]).strip():
                fence = ""
        else:
            prose.append(line)
    joined: list[str] = []
    inside = False
    for line in _plain("\n".join(prose)).splitlines():
        mark, rest = _marked(line)
        text = "".join(each for each in _without_targets(rest) if each not in "*`~[]|").strip()
        if not text or all(each.isspace() or each in "*_=|:+-" for each in text):
            inside = False
        elif inside and not mark:
            joined[-1] += " " + text
        else:
            joined.append(text)
            inside = not mark.startswith("#")
    return "\n".join(joined)


def _fence(line: str) -> str:
    """The back-ticks or tildes, three or more, that a line begins with."""
    text = line.lstrip(" ")
    letter = text[:1]
    if len(line) - len(text) > 3 or letter not in ("`", "~"):
        return ""
    run = text[: len(text) - len(text.lstrip(letter))]
    return run if len(run) >= 3 else ""


def _marked(line: str) -> tuple[str, str]:
    """What makes the line a heading or an item, and the rest of it."""
    text = line.lstrip("> \t\x0b\x0c\xa0\u3000")
    first, _, _ = text.partition(" ")
    number = first[:-1]
    if first != text and (
        first in ("-", "*", "+")
        or (0 < len(first) <= 6 and set(first) == {"#"})
        or (first[-1:] in (".", ")") and 0 < len(number) <= 9 and number.isascii() and number.isdigit())
    ):
        return first, text[len(first) :]
    return "", text


def _without_targets(text: str) -> str:
    """Without the addresses of links."""
    kept, place = [], 0
    while place < len(text):
        end = _target_end(text, place)
        if end is None:
            kept.append(text[place])
            place += 1
        else:
            kept.append(" ")
            place = end
    return "".join(kept)


def _target_end(text: str, place: int) -> int | None:
    for begin, end, other in (("](", ")", "("), ("][", "]", "[")):
        if text.startswith(begin, place):
            stop = text.find(end, place + 2)
            if stop >= 0 and other not in text[place + 2 : stop]:
                return stop + 1
    return None


def _plain(text: str) -> str:
    for begin, end in (("<!--", "-->"), ("<script", "</script"), ("<style", "</style")):
        while (start := text.lower().find(begin)) >= 0:
            stop = text.lower().find(end, start + len(begin))
            text = text[:start] + (" " + text[stop + len(end) :] if stop >= 0 else "")
    kept: list[str] = []
    while (start := text.find("<")) >= 0:
        stop = text.find(">", start)
        again = text.find("<", start + 1)
        if stop < 0 or 0 <= again < stop:
            kept.append(text[: start + 1])
            text = text[start + 1 :]
            continue
        name = "".join(_name(text[start + 1 : stop].removeprefix("/")))
        kept += [text[:start], "\n" if name.lower() in _BLOCKS else " "]
        text = text[stop + 1 :]
    return html.unescape("".join([*kept, text]))


def _name(tag: str) -> Iterator[str]:
    for each in tag:
        if not (each.isalnum() or each == "_"):
            return
        yield each


def _words(line: str) -> Iterator[str]:
    word = ""
    for place, each in enumerate(line + " "):
        if _is_cjk(each):
            if word:
                yield word
            word = ""
            yield each
        elif each.isalnum() or (word and each in _JOINS and _goes_on(line, place + 1)):
            word += each
        elif word:
            yield word
            word = ""


def _goes_on(line: str, place: int) -> bool:
    return place < len(line) and line[place].isalnum() and not _is_cjk(line[place])


def _sentences(line: str) -> int:
    count, open_words = 0, False
    for place, each in enumerate(line):
        behind = line[place + 1 : place + 2]
        if each.isalnum():
            open_words = True
        elif each in "\u3002\uff01\uff1f":
            if behind not in ("\u3002", "\uff01", "\uff1f") or not behind:
                count, open_words = count + 1, False
        elif each in ".!?" and (not behind or behind.isspace() or behind in _QUOTES):
            count, open_words = count + 1, False
    return count + open_words


def _is_cjk(letter: str) -> bool:
    return any(first <= ord(letter) <= last for first, last in _CJK)


def _level(characters: int, words: int, sentences: int) -> str | None:
    if not words:
        return None
    index = (
        Fraction(471, 100) * Fraction(characters, words)
        + Fraction(words, 2 * sentences)
        - Fraction(2143, 100)
    )
    return "beginner" if index <= 8 else "intermediate" if index <= 12 else "advanced"
