"""Curricula: which tasks next, and which judged groups credit may use."""

from journeyman.curricula.learnable import learnable
from journeyman.curricula.levels import levels
from journeyman.curricula.uniform import uniform
from journeyman.curricula.with_branches import with_branches

__all__ = ["learnable", "levels", "uniform", "with_branches"]
