"""The pretraining mixture: an endless, reproducible stream of chats over families, levels and roles.

Only entries of the train split are drawn (by content hash, ``journeyman.tasks.entries.split_of``). Items are made from random
60-bit indices, since item i + 1 of seed s is item i of seed s + 1 in the library: neighbouring seeds are the same data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

import reasoning_gym

from journeyman.tasks import roles
from journeyman.tasks.entries import Entry, split_of
from journeyman.tasks.levels import HARD, LEVELS, trained_levels
from journeyman.tasks.solvers import SOLVERS
from journeyman.types import Message

ROLE_WEIGHTS: Mapping[str, float] = {"solve": 0.66, "verify": 0.18, "revise": 0.04, "choose": 0.06, "again": 0.04, "decline": 0.02}
LEVEL_WEIGHTS: Sequence[float] = (5.0, 3.0, 1.5, 0.7, 0.4)
FAMILY_WEIGHTS: Mapping[str, float] = {
    "letter_counting": 1.3,
    "spell_backward": 5.0,
    "number_sorting": 3.0,
    "time_intervals": 1.5,
    "fraction_simplification": 1.3,
}
_BUILDERS: Mapping[str, roles.Builder] = {
    "solve": roles.solve,
    "verify": roles.verify,
    "revise": roles.revise,
    "choose": roles.choose,
    "again": roles.again,
}


class Source:
    """Entries of one level of one family, each from an index of any size. ``draw`` returns one of the train split."""

    def __init__(self, family: str, level: int) -> None:
        self.family, self.level = family, level
        self.dataset = reasoning_gym.create_dataset(family, seed=0, size=1, **LEVELS[family][level])

    def draw(self, rng: Random) -> Entry:
        """A random entry whose question falls in the train split."""
        while True:
            entry = self.dataset[rng.getrandbits(60)]
            if split_of(entry["question"]) == "train":
                return entry


def pretraining_rows(
    seed: int,
    families: Sequence[str] = (),
    level_weights: Sequence[float] = LEVEL_WEIGHTS,
    role_weights: Mapping[str, float] = ROLE_WEIGHTS,
    family_weights: Mapping[str, float] = FAMILY_WEIGHTS,
) -> Iterator[list[Message]]:
    """Endless chats; the same arguments give the same stream.

    A family is drawn by ``family_weights`` (1 where not named), then one of its trained levels by ``level_weights``, then
    a role by ``role_weights``. ``families`` () means all that are trained. Raises ValueError, when called, for unknown or
    held-out families, unknown roles, and weights that are negative or too few.
    """
    pairs = trained_levels(families)
    names = list(dict.fromkeys(family for family, _ in pairs))
    extra = dict(family_weights) if family_weights is not FAMILY_WEIGHTS else {n: FAMILY_WEIGHTS.get(n, 1.0) for n in names}
    unknown = [r for r in role_weights if r not in ROLE_WEIGHTS] + [f for f in extra if f not in names]
    if unknown:
        raise ValueError(f"unknown roles or families in the weights: {unknown}; roles are {list(ROLE_WEIGHTS)}, families {names}")
    deepest = max(level for _, level in pairs)
    if len(level_weights) <= deepest or min(*level_weights, *role_weights.values(), *extra.values(), 0) < 0:
        raise ValueError(
            f"weights are >= 0, with one for each level 0 to {deepest}: found {list(level_weights)}, {role_weights}, {extra}"
        )
    sources = {name: [Source(family, level) for family, level in pairs if family == name] for name in names}
    return _rows(Random(seed), sources, [extra.get(n, 1.0) for n in names], level_weights, role_weights)


def _rows(
    rng: Random,
    sources: Mapping[str, Sequence[Source]],
    family_weights: Sequence[float],
    level_weights: Sequence[float],
    role_weights: Mapping[str, float],
) -> Iterator[list[Message]]:
    names, role_names = list(sources), list(role_weights)
    while True:
        (family,) = rng.choices(names, family_weights)
        (source,) = rng.choices(sources[family], [level_weights[s.level] for s in sources[family]])
        (role,) = rng.choices(role_names, list(role_weights.values()))
        entry = source.draw(rng)
        if role == "decline":
            yield roles.decline(rng, entry, SOLVERS[family], hard=source.level >= HARD)
        else:
            yield _BUILDERS[role](rng, entry, SOLVERS[family])
