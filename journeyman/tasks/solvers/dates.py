"""calendar_arithmetic (weekday tasks) and time_intervals (clock tasks). One path."""

from __future__ import annotations

import re
from calendar import day_name, month_name, monthrange
from datetime import date

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.steps import Written, one_path

DAYS = list(day_name)
_CLOCK = re.compile(r"\d\d:\d\d(?::\d\d)?")


def _shift(start: str, days: int) -> tuple[list[str], str]:
    """Lines from a weekday by some days: the whole weeks drop out, the rest is counted off."""
    rest, step = abs(days) % 7, -1 if days < 0 else 1
    first = DAYS.index(start)
    lines = [f"{abs(days)}=7*{abs(days) // 7}+{rest}"] if abs(days) >= 7 else []
    lines.append(" ".join([f"0 {start}", *(f"{k} {DAYS[(first + step * k) % 7]}" for k in range(1, rest + 1))]))
    return lines, DAYS[(first + step * rest) % 7]


def _day_of_year(target: date) -> tuple[list[str], int]:
    """Lines that add up the months before a date; returns the days since January 1."""
    total, lines = 0, []
    for month in range(1, target.month):
        days = monthrange(target.year, month)[1]
        lines.append(f"{month_name[month]}: {total}+{days}={total + days}")
        total += days
    lines.append(f"{month_name[target.month]} {target.day}: {total}+{target.day}-1={total + target.day - 1}")
    return lines, total + target.day - 1


def _calendar_arithmetic(entry: Entry) -> Written:
    m = entry["metadata"]
    if m["task"] == "weekday_offset":
        return _shift(DAYS[date.fromisoformat(m["start_date"]).weekday()], m["offset_days"])
    target = date.fromisoformat(m["target_date"])
    lines, days = _day_of_year(target)
    if m["task"] == "weekday_of_date_from_first_date":
        start = m["first_day"].capitalize()
    elif m["task"] == "weekday_of_date":
        start = DAYS[date(target.year, 1, 1).weekday()]
        lines.insert(0, f"January 1, {target.year}: {start}")
    else:
        raise ValueError(f"no solver for calendar task {m['task']!r}: expected weekday_offset, weekday_of_date[_from_first_date]")
    more, answer = _shift(start, days)
    return lines + more, answer


def _time_intervals(entry: Entry) -> Written:
    """Subtraction from the smallest unit; ``b`` marks a borrow of 60 from the next unit."""
    if entry["metadata"]["task_type"] not in ("time", "time_seconds"):
        raise ValueError(f"no solver for time task {entry['metadata']['task_type']!r}: expected time or time_seconds")
    start, end = (clock.split(":") for clock in _CLOCK.findall(entry["question"])[:2])
    lines, out, mark = [], [], ""
    for place in reversed(range(len(start))):
        value = int(end[place]) - int(start[place]) - bool(mark)
        borrow = "b" if value < 0 and place else ""
        value = value + 60 if borrow else value
        lines.append(f"{end[place]}-{start[place]}{mark}={value:02d}{borrow}")
        out.insert(0, f"{value:02d}")
        mark = borrow
    return lines, ":".join(out)


calendar_arithmetic = one_path(_calendar_arithmetic)
time_intervals = one_path(_time_intervals)
