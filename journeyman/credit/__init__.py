"""Credit: ``(group, render) -> lessons``. The one place where what was sampled becomes what is learned."""

from journeyman.credit.bad_per_good import bad_per_good
from journeyman.credit.batch_whitened import batch_whitened
from journeyman.credit.by_duration import by_duration
from journeyman.credit.demonstrate import by_accuracy, demonstrate
from journeyman.credit.down_sampled import down_sampled
from journeyman.credit.drop_covariant import drop_covariant
from journeyman.credit.entropy_modulated import entropy_modulated
from journeyman.credit.equation_list import equation_list
from journeyman.credit.group_relative import group_mean, group_zscore, leave_one_out
from journeyman.credit.imitate_best import imitate_best
from journeyman.credit.labelled import labelled
from journeyman.credit.length_cycle import length_cycle
from journeyman.credit.mark_covariant import mark_covariant
from journeyman.credit.on_sampled import on_sampled
from journeyman.credit.outcome import outcome
from journeyman.credit.outcome_of import outcome_of
from journeyman.credit.over_branches import over_branches
from journeyman.credit.overlong import overlong
from journeyman.credit.pairs import pairs
from journeyman.credit.process_consistent import process_consistent
from journeyman.credit.ramp import ramp
from journeyman.credit.self_explained import self_explained
from journeyman.credit.span_returns import span_returns
from journeyman.credit.step_pairs import step_pairs
from journeyman.credit.step_penalised import step_penalised
from journeyman.credit.summed_views import summed_views
from journeyman.credit.token_zscore import token_zscore
from journeyman.credit.turn_decayed import turn_decayed
from journeyman.credit.win_rate import win_rate
from journeyman.credit.with_demonstration import with_demonstration
from journeyman.credit.with_heat import with_heat
from journeyman.credit.with_refinement import with_refinement
from journeyman.credit.within import within

__all__ = [
    "bad_per_good",
    "batch_whitened",
    "by_accuracy",
    "by_duration",
    "demonstrate",
    "down_sampled",
    "drop_covariant",
    "entropy_modulated",
    "equation_list",
    "group_mean",
    "group_zscore",
    "imitate_best",
    "labelled",
    "leave_one_out",
    "length_cycle",
    "mark_covariant",
    "on_sampled",
    "outcome",
    "outcome_of",
    "over_branches",
    "overlong",
    "pairs",
    "process_consistent",
    "ramp",
    "self_explained",
    "span_returns",
    "step_pairs",
    "step_penalised",
    "summed_views",
    "token_zscore",
    "turn_decayed",
    "win_rate",
    "with_demonstration",
    "with_heat",
    "with_refinement",
    "within",
]
