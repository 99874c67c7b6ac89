"""Feedback: which attempts are right. Each part is ``async (group) -> judgements`` and fails closed: what could not be
checked is abstained, timed out or failed, never a zero."""

from journeyman.feedback.auto import auto
from journeyman.feedback.each import each
from journeyman.feedback.exact import exact
from journeyman.feedback.from_file import from_file
from journeyman.feedback.gym import gym
from journeyman.feedback.math_equal import math_equal
from journeyman.feedback.shuffled import shuffled
from journeyman.feedback.step_checked import step_checked

__all__ = ["auto", "each", "exact", "from_file", "gym", "math_equal", "shuffled", "step_checked"]
