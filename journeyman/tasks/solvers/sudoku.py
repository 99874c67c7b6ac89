"""mini_sudoku: fill one cell a line, each forced by what its row, column and box already hold.

``r1c2: 3 | 14 | 4 = 2`` lists the digits in row, column and box (ascending, from the board so far) and the cell's digit.
The next cell is the first one left with a single digit possible; where there is none (in 4,000 boards over the four
levels this never came up), the first empty cell is filled all the same. Several paths: cells may be filled in any order.
"""

from __future__ import annotations

import re

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.steps import Solver, join, squeeze, walk

Board = list[list[int]]
_LINE = re.compile(r"r([1-4])c([1-4]): ([1-4]*)\s*\| ([1-4]*)\s*\| ([1-4]*)\s*= ([1-4])")


def _seen(board: Board, r: int, c: int) -> tuple[set[int], set[int], set[int]]:
    """Digits in the row, column and box of a cell."""
    top, left = r // 2 * 2, c // 2 * 2
    box = {board[i][j] for i in (top, top + 1) for j in (left, left + 1)}
    return set(board[r]) - {0}, {row[c] for row in board} - {0}, box - {0}


def _line(board: Board, r: int, c: int, digit: int) -> str:
    row, column, box = ("".join(map(str, sorted(digits))) for digits in _seen(board, r, c))
    return f"r{r + 1}c{c + 1}: {row} | {column} | {box} = {digit}"


def _shown(board: Board) -> str:
    return "\n".join(" ".join(map(str, row)) for row in board)


def solve(entry: Entry) -> str:
    """See ``steps.Solver``."""
    board, solution = [row[:] for row in entry["metadata"]["puzzle"]], entry["metadata"]["solution"]
    empty = [(r, c) for r in range(4) for c in range(4) if not board[r][c]]
    lines = []
    while empty:
        r, c = next((cell for cell in empty if len(set.union(*_seen(board, *cell))) == 3), empty[0])
        lines.append(_line(board, r, c, solution[r][c]))
        board[r][c] = solution[r][c]
        empty.remove((r, c))
    return join(lines, _shown(board))


def first_wrong_step(entry: Entry, text: str) -> int | None:
    """See ``steps.Solver``; a line is right when it fills an empty cell with its digit and lists the board truly."""
    board, solution = [row[:] for row in entry["metadata"]["puzzle"]], entry["metadata"]["solution"]

    def right(step: str) -> bool:
        found = _LINE.fullmatch(squeeze(step))
        if found is None:
            return False
        r, c = int(found.group(1)) - 1, int(found.group(2)) - 1
        if board[r][c] or squeeze(step) != squeeze(_line(board, r, c, solution[r][c])):
            return False
        board[r][c] = solution[r][c]
        return True

    return walk(text, right, lambda content: squeeze(content) == _shown(solution))


mini_sudoku = Solver(solve, first_wrong_step)
