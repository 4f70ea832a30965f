"""Words, minutes and level of a text follow from small rules, in time in proportion to its length."""

import time
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.content.reading import TextMeasures, minutes, of_html, of_markdown
from tests.oracle.texts import measures


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("", 0),
        ("# A heading\n\nTwo paragraphs\ngo here.", 6),
        ("- one\n- two\n\n1. three\n> four five", 5),
        ("It's a step-by-step rule, isn\u2019t it?", 6),
        ("**bold** _and_ `code` ~~gone~~", 4),
        ("See [the page](https://example.com/a_b) and ![a picture](x.svg)", 6),
        ("before\n```python\nnot = words\n```\nafter", 2),
        ("before\n~~~~\nnot words\n~~~\nnot yet\n~~~~\nafter", 2),
        ("| a | b |\n|---|---|\n| c | d |", 4),
        ("one<br>two <!-- not a word --> <b>three</b> &amp; four", 4),
        ("---\n***\n* * *", 0),
        ("算法是步骤。 Two words", 7),
    ],
)
def test_words_of_markdown_are_those_that_a_reader_reads(markdown: str, words: int) -> None:
    assert of_markdown(markdown).word_count == words


def test_words_of_html_are_those_that_a_reader_reads() -> None:
    text = (
        "<h1>One two</h1><p>three<br/>four</p><script>no('word')</script><style>p {}</style><p>f&#105;ve</p>"
    )
    assert of_html(text).word_count == 5
    assert of_html("<script>never ends").word_count == 0


@pytest.mark.parametrize(("words", "expected"), [(0, 0), (1, 1), (238, 1), (239, 2), (1250, 6)])
def test_reading_time_is_rounded_up_to_minutes(words: int, expected: int) -> None:
    assert minutes(words) == expected


def test_the_level_follows_from_the_automated_readability_index() -> None:
    # 4.71 * 19 / 6 + 0.5 * 6 / 1 - 21.43 = -3.515
    assert of_markdown("The big dog ran out fast.") == TextMeasures(6, 1, "beginner")
    # 4.71 * 54 / 8 + 0.5 * 8 - 21.43 = 14.3625
    hard = "Algorithmic complexity characterises asymptotic behaviour of deterministic procedures"
    assert of_markdown(hard).complexity_level == "advanced"
    # 4.71 * 60 / 12 + 0.5 * 12 - 21.43 = 8.12, and one letter less is below 8
    between = "water sugar table chair horse plant stone bread glass light green house"
    assert of_markdown(between).complexity_level == "intermediate"
    assert of_markdown(between[:-1]).complexity_level == "beginner"
    assert of_markdown("").complexity_level is None


def test_headings_and_list_items_are_sentences() -> None:
    flat = " ".join(["understanding"] * 3)
    assert of_html(f"<li>{flat}</li><li>{flat}</li>") == of_markdown(f"- {flat}\n- {flat}")


@pytest.mark.parametrize(
    "part",
    [
        "<",
        "](",
        "![",
        "<!--",
        "<script",
        "```\n",
        "a\n",
        ". ",
        "&#",
        "a-'",
        "> " * 10 + "\n",
        "<p ",
        "[](",
        "1) ",
    ],
)
def test_no_text_takes_more_than_its_length(part: str) -> None:
    text = part * (300_000 // len(part))
    began = time.process_time()
    of_markdown(text)
    of_html(text)
    assert time.process_time() - began < 10


_PIECES = st.sampled_from(
    [
        *(
            "one",
            " ",
            "two-three",
            "'",
            ".",
            "? ",
            "\n",
            "\n\n",
            "# ",
            "- ",
            "12. ",
            "> ",
            "*",
            "`",
            "```",
            "~~~",
        ),
        *(
            "](a)",
            "[",
            "](",
            "<p>",
            "</p>",
            "<b ",
            ">",
            "<!--",
            "-->",
            "<script",
            "</script>",
            "&amp;",
            "&#",
            "|",
        ),
        *("算法", "。", "_", "é", "\u2019", '"', "<br/>", "][b]", "\t", "<Style>", "---", "~~~~ x"),
    ]
)


@given(st.lists(_PIECES, max_size=25).map("".join))
@settings(max_examples=150, deadline=None)
def test_the_oracle_reads_the_same(text: str) -> None:
    assert asdict(of_markdown(text)) == measures({"markdown": text})
    assert asdict(of_html(text)) == measures({"html": text})
