"""Feedback: which attempts are right. Each part is ``async (group) -> judgements`` and fails closed: what could not be
checked is abstained, timed out or failed, never a zero."""

from journeyman.feedback.auto import auto
from journeyman.feedback.checklist import checklist
from journeyman.feedback.each import each
from journeyman.feedback.exact import exact
from journeyman.feedback.from_file import from_file
from journeyman.feedback.gym import gym
from journeyman.feedback.hindsight import hindsight
from journeyman.feedback.math_equal import math_equal
from journeyman.feedback.milestones import milestones
from journeyman.feedback.shuffled import shuffled
from journeyman.feedback.step_checked import step_checked
from journeyman.feedback.summed import summed
from journeyman.feedback.tool_calls import tool_calls
from journeyman.feedback.user_reaction import user_reaction

__all__ = [
    "auto",
    "checklist",
    "each",
    "exact",
    "from_file",
    "gym",
    "hindsight",
    "math_equal",
    "milestones",
    "shuffled",
    "step_checked",
    "summed",
    "tool_calls",
    "user_reaction",
]
