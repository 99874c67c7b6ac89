"""Numbers and names as the report writes them."""

LONGEST = 26  # characters of a label beside an axis


def pct(share: float) -> str:
    return f"{100 * share:.1f} %"


def short_label(name: str) -> str:
    """The name, or its ends where it is too long to stand beside an axis."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}"


def number(value: float) -> str:
    """Three significant digits, without an exponent where it would be longer."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def count(value: float) -> str:
    """A count of tokens or attempts: 950, 12.3 thousand, 4.5 million."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e4, "thousand")):
        if value >= size:
            return f"{value / (1e3 if word == 'thousand' else size):.3g} {word}"
    return f"{value:,.0f}"


def duration(total: float) -> str:
    """Seconds as people say them."""
    if total < 120:
        return f"{total:.0f} s"
    return f"{total / 60:.0f} min" if total < 7200 else f"{total / 3600:.1f} h"
