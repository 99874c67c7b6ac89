"""Schoolbook arithmetic on digits, written so that each next digit is a local computation.

Columns run from the units. ``c`` after a digit is a carry and ``b`` a borrow into the next column, where the mark is
repeated: ``859+467: 9+7=6c 5+6c=2c 8+4c=3c =1326``.
"""

from __future__ import annotations


def digits(a: int, b: int) -> list[tuple[int, int]]:
    """Digits of two numbers from the units, padded with 0 to equal length."""
    width = max(len(str(a)), len(str(b)))
    return [(int(x), int(y)) for x, y in zip(str(a).zfill(width)[::-1], str(b).zfill(width)[::-1], strict=True)]


def add(a: int, b: int) -> str:
    """Columns of a + b (both >= 0) and the result: ``9+7=6c 5+6c=2c =..``."""
    parts, mark = [], ""
    for x, y in digits(a, b):
        total = x + y + bool(mark)
        carry = "c" if total > 9 else ""
        parts.append(f"{x}+{y}{mark}={total % 10}{carry}")
        mark = carry
    return f"{' '.join(parts)} ={a + b}"


def subtract(a: int, b: int) -> str:
    """Columns of a - b (a >= b >= 0) and the result: ``4-7=7b 1-6b=..``."""
    parts, mark = [], ""
    for x, y in digits(a, b):
        total = x - y - bool(mark)
        borrow = "b" if total < 0 else ""
        parts.append(f"{x}-{y}{mark}={total % 10}{borrow}")
        mark = borrow
    return f"{' '.join(parts)} ={a - b}"


def signed(total: int, change: int) -> str:
    """One line for total + change, with the signs settled first: ``467-914=-(914-467): ... =-447``."""
    shown = f"{total}{'-' if change < 0 else '+'}{abs(change)}"
    big, small = max(abs(total), abs(change)), min(abs(total), abs(change))
    if (total < 0) == (change < 0) or total == 0 or change == 0:
        first, second = (abs(total), abs(change))
        plain, columns = f"{first}+{second}", add(first, second)
    else:
        plain, columns = f"{big}-{small}", subtract(big, small)
    work, value = columns.rsplit(" =", 1)
    if total + change < 0:
        return f"{shown}=-({plain}): {work} =-{value}"
    return f"{shown}: {work} ={value}" if shown == plain else f"{shown}={plain}: {work} ={value}"


def times_digit(a: int, d: int) -> str:
    """One line for a (>= 0) times one digit, carries being the tens of each product: ``47*3: 7*3=21 4*3+2=14 =141``."""
    if a < 10 or d == 0:
        return f"{a}*{d}: ={a * d}"
    parts, carry = [], 0
    for x in map(int, reversed(str(a))):
        parts.append(f"{x}*{d}+{carry}={x * d + carry}" if carry else f"{x}*{d}={x * d}")
        carry = (x * d + carry) // 10
    return f"{a}*{d}: {' '.join(parts)} ={a * d}"


def multiply(a: int, b: int) -> list[str]:
    """Lines for a * b (both >= 0): a partial product for each digit of b from the units, each added at once."""
    if a < 10 and b >= 10:
        a, b = b, a
    lines, total = [], 0
    for place, d in enumerate(map(int, reversed(str(b)))):
        lines.append(times_digit(a, d))
        part = a * d * 10**place
        if place and part:
            lines.append(f"{total}+{part}: {add(total, part)}" if total else f"0+{part}: ={part}")
        total += part
    return lines


def divide(a: int, b: int) -> str:
    """Long division a / b without remainder as ``504=84*6+0 0=84*0+0 =60``: each part brings down one digit of a."""
    parts, rest = [], 0
    for x in map(int, str(a)):
        rest = rest * 10 + x
        if rest >= b or parts:
            parts.append(f"{rest}={b}*{rest // b}+{rest % b}")
            rest %= b
    return f"{' '.join(parts)} ={a // b}" if parts else f"={a // b}"
