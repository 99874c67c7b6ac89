"""Experts: ``async (question, policy) -> Answer``. Ordinary Python; every model call is recorded, seeded and charged."""

from journeyman.strategies.best_of_n import best_of_n
from journeyman.strategies.rationalize import rationalize
from journeyman.strategies.retry import retry, retry_until_right
from journeyman.strategies.sample import sample
from journeyman.strategies.solution import solution
from journeyman.strategies.vote import vote

__all__ = ["best_of_n", "rationalize", "retry", "retry_until_right", "sample", "solution", "vote"]
