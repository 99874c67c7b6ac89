"""Evaluation statistics: unbiased pass@k, exact maj@k, clustered intervals, paired differences, reports."""

from journeyman.evals.intervals import Difference, Estimate, interval_clustered, paired_difference
from journeyman.evals.majority import maj_at_k
from journeyman.evals.pass_at_k import pass_at_k
from journeyman.evals.report import Report, Slice, summarise, value_of

__all__ = [
    "Difference",
    "Estimate",
    "Report",
    "Slice",
    "interval_clustered",
    "maj_at_k",
    "paired_difference",
    "pass_at_k",
    "summarise",
    "value_of",
]
