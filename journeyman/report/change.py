"""Whether two accuracies differ, and how a title says so: a change is claimed only where its interval leaves out zero."""

from __future__ import annotations

from math import hypot
from typing import Any

Json = dict[str, Any]  # an estimate: mean, low, high


def difference(new: Json, old: Json) -> Json:
    """``new`` less ``old`` with an interval made from theirs:

    d = new.mean - old.mean
    low = d - hypot(new.mean - new.low, old.high - old.mean);  high = d + hypot(new.high - new.mean, old.mean - old.low)

    Newcombe 1998, Statistics in Medicine 17(8), method 10. It takes the two for independent; where both are of the same tasks,
    the paired interval is narrower, so this one claims too little rather than too much.
    """
    mean = new["mean"] - old["mean"]
    low = mean - hypot(new["mean"] - new["low"], old["high"] - old["mean"])
    return {"mean": mean, "low": low, "high": mean + hypot(new["high"] - new["mean"], old["mean"] - old["low"])}


def direction(change: Json) -> int:
    """1 where the interval lies above zero, -1 where it lies below, 0 where it holds zero or is not known."""
    return int(change["low"] > 0) - int(change["high"] < 0)


def told(what: str, change: Json, old: str, new: str, places: tuple[str, str] = ("before", "after")) -> str:
    """ "Accuracy rose from 20.0 % to 31.5 %", or "Accuracy: no clear change (20.0 % before, 21.0 % after)"."""
    if turn := direction(change):
        return f"{what} {'rose' if turn > 0 else 'fell'} from {old} to {new}"
    return f"{what}: no clear change ({old} {places[0]}, {new} {places[1]})"
