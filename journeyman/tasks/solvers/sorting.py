"""number_sorting (insertion, one number a line) and number_filtering (a verdict a number). One path: numbers in order."""

from __future__ import annotations

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.steps import Written, one_path


def _number_sorting(entry: Entry) -> Written:
    m = entry["metadata"]
    sign = 1 if m["direction"] == "ascending" else -1
    done: list[str] = []
    lines = []
    for number in m["original_numbers"]:
        done = sorted([*done, number], key=lambda n: sign * float(n))
        lines.append(f"+{number}: {' '.join(done)}")
    return lines, str(done)


def _number_filtering(entry: Entry) -> Written:
    m = entry["metadata"]
    keep, larger = m["operation"].split("_")
    limit, kept, lines = float(m["filter_value"]), [], []
    for number in m["original_numbers"]:
        beyond = float(number) > limit if larger == "larger" else float(number) < limit
        stays = beyond == (keep == "keep")
        lines.append(f"{number} {'keep' if stays else 'drop'}")
        if stays:
            kept.append(number)
    return lines, str(kept)


number_sorting = one_path(_number_sorting)
number_filtering = one_path(_number_filtering)
