"""What looks like a card number is found in every disguise, and little else is."""

from typing import Any

import pytest

from worker.contract.card_numbers import holds_card_number


@pytest.mark.parametrize(
    "value",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111 - 1111 - 1111 - 1111",
        "378282246310005",
        "4222222222222",
        "6304000000000000000",
        "card:4111111111111111;exp 12/29",
        "4111 1111 1111 1111 12 29",
        "12 4111111111111111",
        "\uff14" + "\uff11" * 15,
        4111111111111111,
        4111111111111111.0,
        -4111111111111111,
        ["a", ["4111111111111111"]],
        {"a": {"b": "4111111111111111"}},
        {"4111111111111111": None},
    ],
)
def test_a_card_number_is_found(value: Any) -> None:
    assert holds_card_number(value)


@pytest.mark.parametrize(
    "value",
    [
        "4111111111111112",
        "411111111111",
        "41111111111111111111111111111",
        "txn_5f1c",
        "2024-01-15T09:30:00Z",
        "199.99",
        "+44 20 7946 0958",
        "4111,1111,1111,1111",
        "",
        None,
        True,
        0,
        {},
        ["4111", "1111", "1111", "1111"],
    ],
)
def test_what_is_no_card_number_is_left_alone(value: Any) -> None:
    assert not holds_card_number(value)
