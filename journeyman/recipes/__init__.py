"""Recipes: one function for each paper, which returns a ``Run``. The command line is generated from their signatures."""

from journeyman.recipes.expert_iteration import expert_iteration, rft, star
from journeyman.recipes.group_relative import dapo, dr_grpo, grpo, rloo
from journeyman.recipes.sft import sft

__all__ = ["dapo", "dr_grpo", "expert_iteration", "grpo", "rft", "rloo", "sft", "star"]
