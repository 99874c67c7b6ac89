"""Experts: ``async (question, policy) -> Answer``. Ordinary Python; every model call is recorded, seeded and charged."""

from journeyman.strategies.backtracking import backtracking
from journeyman.strategies.best_of_n import best_of_n
from journeyman.strategies.branched import branched
from journeyman.strategies.coreset import coreset
from journeyman.strategies.critiqued import critiqued
from journeyman.strategies.forked import forked
from journeyman.strategies.guided import guided
from journeyman.strategies.orders import after, lots
from journeyman.strategies.rationalize import rationalize
from journeyman.strategies.retry import retry, retry_until_right
from journeyman.strategies.sample import sample
from journeyman.strategies.solution import solution
from journeyman.strategies.vote import vote

__all__ = [
    "after",
    "backtracking",
    "best_of_n",
    "branched",
    "coreset",
    "critiqued",
    "forked",
    "guided",
    "lots",
    "rationalize",
    "retry",
    "retry_until_right",
    "sample",
    "solution",
    "vote",
]
