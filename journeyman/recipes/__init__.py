"""Recipes: one function for each paper, which returns a ``Run``. The command line is generated from their signatures."""

from journeyman.recipes.dapo import dapo
from journeyman.recipes.dr_grpo import dr_grpo
from journeyman.recipes.expert_iteration import expert_iteration
from journeyman.recipes.grpo import grpo
from journeyman.recipes.rft import rft
from journeyman.recipes.rloo import rloo
from journeyman.recipes.sft import sft
from journeyman.recipes.star import star

__all__ = ["dapo", "dr_grpo", "expert_iteration", "grpo", "rft", "rloo", "sft", "star"]
