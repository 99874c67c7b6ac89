"""Tasks: sources that can be indexed, from generators, from files, and mixtures of them."""

from journeyman.tasks.gym import entry_of, gym
from journeyman.tasks.jsonl import jsonl
from journeyman.tasks.load import load_tasks
from journeyman.tasks.mix import mix

__all__ = ["entry_of", "gym", "jsonl", "load_tasks", "mix"]
