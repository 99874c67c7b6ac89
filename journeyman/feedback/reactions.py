"""A model of users' reactions: the chance that an answer gets one, fitted to a log of answers that did and did not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class Reaction(msgspec.Struct, frozen=True):
    """One line of a log: ``{"prompt": "...", "response": "...", "reaction": true}``."""

    prompt: str
    response: str
    reaction: bool


def read_log(path: Path) -> list[Reaction]:
    """The lines of a .jsonl file; ValueError names the line that is none."""
    if not path.is_file():
        raise ValueError(f"there is no file {path} (looked in {Path.cwd()})")
    rows: list[Reaction] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            rows += [msgspec.json.decode(line, type=Reaction)] if line.strip() else []
        except msgspec.DecodeError as error:
            expected = '{"prompt": "...", "response": "...", "reaction": true}'
            raise ValueError(f"{path.name} line {number}: {error}; expected {expected}") from None
    return rows


def fitted(rows: Sequence[Reaction], strength: float) -> Pipeline:
    """P[reaction] = sigmoid(w . features + b), features = hashed words and pairs of words of prompt and of response; w and b have
    the least sum of binary cross-entropies + |w|^2 / (2 strength). Classes are not reweighted, so that chances stay calibrated
    however rare reactions are. ValueError where the log holds one kind only."""
    from sklearn.compose import ColumnTransformer  # here, so that who asks for no such model does not wait for the library
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if len({x.reaction for x in rows}) < 2:
        raise ValueError(f"the log has {len(rows)} lines, all of one kind; expected some with and some without a reaction")
    features = HashingVectorizer(n_features=1 << 16, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", alternate_sign=False)
    split = ColumnTransformer([("prompt", features, 0), ("response", features, 1)])
    model = make_pipeline(split, LogisticRegression(C=strength, max_iter=1000))
    return model.fit(table([(x.prompt, x.response) for x in rows]), [x.reaction for x in rows])


def chances(model: Pipeline, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """P[reaction] of (prompt, response) pairs."""
    return model.predict_proba(table(pairs))[:, 1].tolist()


def cross_entropy(found: Sequence[float], reactions: Sequence[bool]) -> float:
    """Mean binary cross-entropy (nats) of chances: how well they foretell reactions of a log that was held out."""
    p = np.where(reactions, found, 1 - np.asarray(found))
    return float(-np.log(p.clip(1e-12)).mean())


def table(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    return np.array(pairs, dtype=object).reshape(-1, 2)
