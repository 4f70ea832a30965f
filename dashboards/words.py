"""Values as Grafana writes them, near enough for a picture: seconds, bytes, shares, and numbers with a suffix."""

from itertools import pairwise

_TIMES = ((1.0, "s"), (60.0, "min"), (3_600.0, "hour"), (86_400.0, "day"))
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")
_THOUSANDS = ("", " K", " Mil", " Bil")


def in_unit(value: float, unit: str) -> str:
    """The value in a unit of Grafana's."""
    kind, _, suffix = unit.partition(":")
    match kind:
        case "s":
            return _seconds(value)
        case "bytes":
            return _scaled(value, 1_024, _BYTES, " ")
        case "percentunit":
            return f"{_digits(100 * value)}%"
        case "suffix":
            return f"{_digits(value)}{suffix}"
        case "short":
            return _scaled(value, 1_000, _THOUSANDS, "")
        case _:
            return _digits(value)


def on_axis(value: float, unit: str) -> str:
    """The same for an axis, where a suffix would stand at each line."""
    return in_unit(value, "short" if unit.startswith("suffix:") else unit)


def short_time(seconds: float) -> str:
    """Minutes and seconds since the beginning."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def _seconds(value: float) -> str:
    size = abs(value)
    if size == 0:
        return "0 s"
    if size < 0.001:
        return f"{_digits(value * 1e6)} µs"
    if size < 1:
        return f"{_digits(value * 1e3)} ms"
    for (factor, name), (beyond, _) in pairwise((*_TIMES, (float("inf"), ""))):
        if size < beyond:
            return f"{_digits(value / factor)} {name}"
    raise AssertionError("unreachable: the last limit is infinite")


def _scaled(value: float, base: int, names: tuple[str, ...], space: str) -> str:
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    return f"{_digits(value)}{space}{names[power]}"


def _digits(value: float) -> str:
    """Three that mean something, and no zeros behind them."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
