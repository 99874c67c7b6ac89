"""spell_backward, word_sequence_reversal and letter_counting: spell out with an index or a running count. One path."""

from __future__ import annotations

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.steps import Written, one_path


def _spell_backward(entry: Entry) -> Written:
    word = entry["metadata"]["word"]
    indexed = [f"{i}{letter}" for i, letter in enumerate(word)]
    return [" ".join(indexed), " ".join(reversed(indexed))], word[::-1]


def _word_sequence_reversal(entry: Entry) -> Written:
    words = entry["metadata"]["words"]
    indexed = [f"{i} {word}" for i, word in enumerate(words)]
    return [", ".join(indexed), ", ".join(reversed(indexed))], ", ".join(reversed(words))


def _letter_counting(entry: Entry) -> Written:
    """Each word spelled out; the running count stands after each letter that counts."""
    target, count, lines = entry["metadata"]["target_letter"], 0, []
    for word in entry["metadata"]["span"]:
        spelled = []
        for letter in word.lower():
            count += letter == target
            spelled.append(f"{letter}{count}" if letter == target else letter)
        lines.append(f"{word}: {' '.join(spelled)}")
    return lines, str(count)


spell_backward = one_path(_spell_backward)
word_sequence_reversal = one_path(_word_sequence_reversal)
letter_counting = one_path(_letter_counting)
