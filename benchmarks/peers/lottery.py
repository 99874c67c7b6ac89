"""A reward for models with random weights, which are never right: luck, by question and answer, the same for all libraries.

A question's chance of a right answer is drawn from a Beta distribution of mean 0.38 under which 48 % of the groups of eight
answers are all right or all wrong, and so teach GRPO nothing: what the base model has at its frontier levels (runs/arena.md:
38.4 % right, 52 % of the tokens that grpo sampled were trained on).
"""

import random

RIGHT, WRONG = 0.307, 0.493


def luck(question: str, answer: str) -> float:
    """1.0 or 0.0, a function of the two texts alone."""
    chance = random.Random(question).betavariate(RIGHT, WRONG)
    return float(random.Random(question + answer).random() < chance)
