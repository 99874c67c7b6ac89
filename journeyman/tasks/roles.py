"""Chats that teach the roles besides solving: verify, revise, choose, try again, decline.

Each builder takes a ``random.Random``, an entry and its solver and returns messages whose last is the assistant's
target. The same state of the generator gives the same messages. Wrong attempts are right solutions in which one number,
letter or word of one step was changed, the change carried into later steps that copy a changed number, and the answer
changed as well; that they are wrong, and where first, is what the step checker says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from reasoning_gym.logic.knights_knaves import KNIGHT_KNAVE_PAIRS

from journeyman.prompts import ASK_AGAIN, ASK_CHOOSE, ASK_DECLINE, ASK_REVISE, ASK_VERIFY
from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.dates import DAYS
from journeyman.tasks.solvers.steps import Solver, answer_of, join, split_steps
from journeyman.types import Message

UNKNOWN = "I don't know"

_TOKEN = re.compile(r"\d+|[A-Za-z]+")
_PAIRS = [("yes", "no"), ("keep", "drop"), *((knight.split()[1], knave.split()[1]) for knight, knave in KNIGHT_KNAVE_PAIRS)]
_OTHER = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
_TRIES = 20


def _changed(rng: Random, token: str, fresh: bool = False) -> str | None:
    """Another token of the same kind, or None for a word that has no natural counterpart (``fresh``: any letters)."""
    if token in _OTHER:
        return _OTHER[token]
    if token in DAYS:
        return rng.choice([day for day in DAYS if day != token])
    at = rng.randrange(len(token))
    if token.isdigit():
        low = 1 if at == 0 and len(token) > 1 else 0
        other = rng.choice([d for d in "0123456789"[low:] if d != token[at]])
    elif set(token) <= {"T", "F"}:
        other = "F" if token[at] == "T" else "T"
    elif fresh or (len(token) == 1 and token != "a"):  # "a" may be the article
        other = rng.choice([c for c in "abcdefghijklmnopqrstuvwxyz" if c != token[at].lower()])
    else:
        return None
    return token[:at] + other + token[at + 1 :]


def corrupt_step(rng: Random, text: str, index: int, carry: bool = True) -> str | None:
    """The text with one token of step ``index`` changed, or None when that step has no token to change.

    With ``carry``, a changed number of at least two digits is changed wherever later steps repeat it.
    """
    steps = split_steps(text)
    step = steps[index]
    inside = answer_of(step)
    body = step if inside is None else inside
    places = list(_TOKEN.finditer(body))
    rng.shuffle(places)
    passes = [(place, False) for place in places] + [(place, True) for place in places if inside is not None]
    for place, fresh in passes:
        new = _changed(rng, place.group(), fresh)
        if new is None:
            continue
        body = body[: place.start()] + new + body[place.end() :]
        steps[index] = body if inside is None else f"<answer>{body}</answer>"
        if carry and place.group().isdigit() and len(place.group()) > 1:
            whole = re.compile(rf"(?<!\d){place.group()}(?!\d)")
            steps[index + 1 :] = [whole.sub(new, later) for later in steps[index + 1 :]]
        return "\n".join(steps)
    return None


def wrong_attempt(rng: Random, entry: Entry, solver: Solver) -> str:
    """A full attempt with a wrong step and a wrong answer. Raises ValueError for an entry where none is found."""
    text = solver.solve(entry)
    gold = split_steps(text)[-1]
    last = len(split_steps(text)) - 1
    for _ in range(_TRIES):
        attempt = corrupt_step(rng, text, rng.randint(0, last))
        if attempt is not None and split_steps(attempt)[-1] == gold:
            attempt = corrupt_step(rng, attempt, last)
        if attempt is not None and solver.first_wrong_step(entry, join([], answer_of(split_steps(attempt)[-1]) or "")) is not None:
            return attempt
    raise ValueError(f"no wrong attempt found in {_TRIES} changes of {text!r}: expected numbers, letters or weekdays to change")


def _user(*parts: str) -> Message:
    return {"role": "user", "content": "\n\n".join(part.strip() for part in parts)}


def _assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


_PIECE = re.compile(r"[A-Za-z]+|\s+|.", re.DOTALL)


def _up_to_the_difference(right: str, given: str) -> str:
    """``right`` up to and with its first digit, word or sign that differs from ``given``'s."""
    ours, theirs = _PIECE.findall(right), _PIECE.findall(given)
    same = next((k for k, (x, y) in enumerate(zip(ours, theirs, strict=False)) if x != y), min(len(ours), len(theirs)))
    return "".join(ours[: same + 1]).rstrip()


def _plain(step: str) -> str:
    """A step on one line, without the tag of the answer."""
    inside = answer_of(step)
    return " ".join((step if inside is None else inside).split())


def verify(rng: Random, entry: Entry, solver: Solver) -> list[Message]:
    """Judge an attempt step by step (right and wrong attempts equally often): each step is worked out again, ``1: 9+4=13
    right``; the first wrong one up to where it differs, ``2: 13+7=20 wrong``, ends the check; then ``<answer>no</answer>``."""
    gold = solver.solve(entry)
    attempt = gold if rng.random() < 0.5 else wrong_attempt(rng, entry, solver)
    steps, wrong = split_steps(attempt), solver.first_wrong_step(entry, attempt)
    lines = [f"{k + 1}: {_plain(step)} right" for k, step in enumerate(steps[:wrong])]
    if wrong is not None:
        better = [_plain(step) for step in split_steps(gold)]
        agree = better[:wrong] == [_plain(step) for step in steps[:wrong]] and len(better) > wrong
        lines.append(f"{wrong + 1}: {_up_to_the_difference(better[wrong], _plain(steps[wrong])) + ' ' if agree else ''}wrong")
    target = join(lines, "yes" if wrong is None else "no")
    return [_user(entry["question"], attempt, rng.choice(ASK_VERIFY)), _assistant(target)]


def revise(rng: Random, entry: Entry, solver: Solver, wrong: float = 0.75) -> list[Message]:
    """Turn a given attempt, wrong with probability ``wrong``, into a right one."""
    attempt = wrong_attempt(rng, entry, solver) if rng.random() < wrong else solver.solve(entry)
    return [_user(entry["question"], attempt, rng.choice(ASK_REVISE)), _assistant(solver.solve(entry))]


def choose(rng: Random, entry: Entry, solver: Solver) -> list[Message]:
    """Choose the right one of 2 to 4 numbered answers: the target works the task out, holds the answer beside each option
    until one is the same (``1) 24 no``, ``2) 25 yes``), and gives its number."""
    *work, last = split_steps(solver.solve(entry))
    gold = answer_of(last) or ""
    options = [gold]
    for _ in range(rng.randint(1, 3)):
        option = answer_of(split_steps(wrong_attempt(rng, entry, solver))[-1]) or ""
        if option not in options:
            options.append(option)
    rng.shuffle(options)
    listed = "\n".join(f"{k + 1}) {option}" for k, option in enumerate(options))
    held = options[: options.index(gold) + 1]
    beside = [f"{k + 1}) {_plain(option)} {'yes' if option == gold else 'no'}" for k, option in enumerate(held)]
    target = join([*work, gold, *beside], str(len(held)))
    return [_user(entry["question"], listed, rng.choice(ASK_CHOOSE)), _assistant(target)]


def again(rng: Random, entry: Entry, solver: Solver) -> list[Message]:
    """A wrong attempt, the word that it is wrong, and a right one; now and then two wrong attempts."""
    messages = [_user(entry["question"])]
    for _ in range(2 if rng.random() < 0.2 else 1):
        messages += [_assistant(wrong_attempt(rng, entry, solver)), _user(rng.choice(ASK_AGAIN))]
    return [*messages, _assistant(solver.solve(entry))]


def decline(rng: Random, entry: Entry, solver: Solver, hard: bool) -> list[Message]:
    """Invited to decline: decline where the task is ``hard``, solve it where it is not."""
    target = f"<answer>{UNKNOWN}</answer>" if hard else solver.solve(entry)
    return [_user(entry["question"], rng.choice(ASK_DECLINE)), _assistant(target)]


def solve(rng: Random, entry: Entry, solver: Solver) -> list[Message]:
    """The plain task and its solution."""
    del rng  # one signature for all roles; a solution has nothing to draw
    return [{"role": "user", "content": entry["question"]}, _assistant(solver.solve(entry))]


Builder = Callable[[Random, Entry, Solver], list[Message]]
"""What ``verify``, ``revise``, ``choose``, ``again`` and ``solve`` are; ``decline`` also has to be told what is hard."""
