"""How long a text takes to read, and how hard it is: words, minutes and a level, computed from Markdown or HTML.

The rules are small and of their own: a document is the same on every machine, for ever, and no text, however it is
written, takes more than time in proportion to its length. All arithmetic is in whole numbers.

**Text.** Of Markdown: without fenced code, what marks headings, quotations, lists and emphasis, and addresses of
links and pictures. Of both: without tags, comments, scripts and styles; character references are what they stand for.

**Words** are runs of letters and digits, joined by apostrophes and hyphens. Each Chinese or Japanese
character is one: nothing stands between words there.

**Minutes**: words / 238, rounded up; 238 words a minute are the average of adults who read non-fiction in silence
(M. Brysbaert, How many words do we read per minute?, Journal of Memory and Language 109, 2019, 104047).

**Level**: the Automated Readability Index (R. J. Senter, E. A. Smith, AMRL-TR-66-220, 1967),

    4.71 * characters / words + 0.5 * words / sentences - 21.43,

a grade of American schools: beginner up to 8, intermediate up to 12, which ends school, advanced beyond. Characters
are those of words. A sentence ends with . ! ? or their Chinese forms before a space, or with its line, as headings
and list items do.
"""

import html
import re
from dataclasses import dataclass
from typing import Literal

Level = Literal["beginner", "intermediate", "advanced"]

WORDS_PER_MINUTE = 238
_SCHOOL_GRADE, _LAST_GRADE = 8, 12

# No pattern has a repeated part that another one after it could take back: all are linear.
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_LINE_MARKS = re.compile(r"[\s>]*(?:#{1,6}(?=\s)|[-*+](?=\s)|[0-9]{1,9}[.)](?=\s))?")
_RULE = re.compile(r"[\s*_=|:+-]+")
_TARGET = re.compile(r"\]\([^()\n]*\)|\]\[[^\[\]\n]*\]")
_MARKS = str.maketrans("", "", "*`~[]|")
_TAG = re.compile(r"<[^<>]*>")
_BLOCK = re.compile(
    r"</?(?:address|article|aside|blockquote|br|caption|dd|div|dl|dt|figcaption|figure|footer|h[1-6]|header|hr|li|main|"
    r"nav|ol|p|pre|section|table|tbody|td|tfoot|th|thead|tr|ul)\b[^<>]*>",
    re.IGNORECASE,
)
_CJK = r"\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+(?:['\u2019-][^\W_{_CJK}]+)*")
_SENTENCE_END = re.compile(r"[.!?]+(?=[\s\"'\u2019\u201d)]|$)|[\u3002\uff01\uff1f]+", re.MULTILINE)
_ENDS = ("<!--", "-->"), ("<script", "</script"), ("<style", "</style")


@dataclass(frozen=True, slots=True)
class TextMeasures:
    """Of one text; `reading_time` in minutes, `complexity_level` None where there are no words."""

    word_count: int
    reading_time: int
    complexity_level: Level | None


def of_markdown(markdown: str) -> TextMeasures:
    """Measures of a text in Markdown."""
    return _measures(_prose(_without_tags(_without_fences(markdown))))


def of_html(text: str) -> TextMeasures:
    """Measures of a text in HTML."""
    return _measures(_without_tags(text))


def minutes(words: int) -> int:
    """How long so many words take to read."""
    return -(-words // WORDS_PER_MINUTE)


def _measures(text: str) -> TextMeasures:
    words = characters = sentences = 0
    for line in text.splitlines():
        found = _WORD.findall(line)
        if not found:
            continue
        words += len(found)
        characters += sum(map(len, found))
        ends = [end.end() for end in _SENTENCE_END.finditer(line)]
        # What stands behind the last of them is a sentence of its own.
        sentences += len(ends) + bool(_WORD.search(line, ends[-1] if ends else 0))
    return TextMeasures(words, minutes(words), _level(characters, words, sentences))


def _level(characters: int, words: int, sentences: int) -> Level | None:
    if not words:
        return None
    # The index, times a hundred, times words and sentences, of which there are some.
    whole = words * sentences
    index = 471 * characters * sentences + 50 * words * words - 2143 * whole
    if index <= 100 * _SCHOOL_GRADE * whole:
        return "beginner"
    return "intermediate" if index <= 100 * _LAST_GRADE * whole else "advanced"


def _without_fences(markdown: str) -> str:
    kept: list[str] = []
    fence = ""
    for line in markdown.splitlines():
        found = _FENCE.match(line)
        if found is None:
            if not fence:
                kept.append(line)
        elif not fence:
            fence = found[1]
        elif found[1].startswith(fence) and not line[found.end() :].strip():
            fence = ""
    return "\n".join(kept)


def _prose(markdown: str) -> str:
    """Paragraphs, headings and list items, each on a line of its own."""
    blocks: list[list[str]] = []
    open_block = False
    for line in markdown.splitlines():
        marks = _LINE_MARKS.match(line)
        start = marks.end() if marks else 0
        text = _TARGET.sub(" ", line[start:]).translate(_MARKS).strip()
        if not text or _RULE.fullmatch(text):
            open_block = False
            continue
        begins = bool(line[:start].strip(" \t>"))
        if open_block and not begins:
            blocks[-1].append(text)
        else:
            blocks.append([text])
        open_block = not line.lstrip(" >").startswith("#")
    return "\n".join(" ".join(block) for block in blocks)


def _without_tags(text: str) -> str:
    for begin, end in _ENDS:
        text = _without(text, begin, end)
    return html.unescape(_TAG.sub(" ", _BLOCK.sub("\n", text)))


def _without(text: str, begin: str, end: str) -> str:
    """Without what stands between; what does not end goes on to the end of the text."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters become two: their places would not be the same
        lowered = text
    kept, place = [], 0
    while (start := lowered.find(begin, place)) >= 0:
        kept.append(text[place:start])
        found = lowered.find(end, start + len(begin))
        if found < 0:
            return " ".join(kept)
        place = found + len(end)
    return " ".join([*kept, text[place:]])
