"""Credit: ``(group, render) -> lessons``. The one place where what was sampled becomes what is learned."""

from journeyman.credit.group_relative import group_mean, group_zscore, leave_one_out
from journeyman.credit.imitate_best import equation_list, imitate_best
from journeyman.credit.on_sampled import on_sampled
from journeyman.credit.overlong import overlong

__all__ = ["equation_list", "group_mean", "group_zscore", "imitate_best", "leave_one_out", "on_sampled", "overlong"]
