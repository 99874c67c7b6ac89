"""rotate_matrix: name where each row of the result is read in the original, then read it. One path."""

from __future__ import annotations

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.steps import Written, one_path


def _rotate_matrix(entry: Entry) -> Written:
    """Quarter turns modulo 4; row k of the result is a row of the original (forward or back) or a column (down or up)."""
    matrix, turns = entry["metadata"]["matrix"], entry["metadata"]["num_rotations"]
    n, quarter = len(matrix), turns % 4
    lines, rows = [f"{turns * 90}=360*{turns // 4}+{quarter * 90}"] if turns > 3 else [], []
    for k in range(n):
        if quarter == 0:
            name, row = f"row {k + 1}", matrix[k]
        elif quarter == 1:
            name, row = f"column {k + 1} up", [r[k] for r in reversed(matrix)]
        elif quarter == 2:
            name, row = f"row {n - k} back", matrix[n - 1 - k][::-1]
        else:
            name, row = f"column {n - k} down", [r[n - 1 - k] for r in matrix]
        rows.append(" ".join(map(str, row)))
        lines.append(f"{name}: {rows[-1]}")
    return lines, "\n".join(rows)


rotate_matrix = one_path(_rotate_matrix)
