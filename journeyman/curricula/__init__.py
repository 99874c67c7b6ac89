"""Curricula: which tasks next, and which judged groups credit may use."""

from journeyman.curricula.learnable import learnable
from journeyman.curricula.levels import levels
from journeyman.curricula.uniform import uniform

__all__ = ["learnable", "levels", "uniform"]
