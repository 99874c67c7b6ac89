"""Compare recipes fairly: the same base, tasks and seeds, the same budget, differences paired by seed and task."""

from journeyman.compare.crossed import Interval, crossed_bootstrap
from journeyman.compare.plan import Entry, Plan, plan_of, read_plan
from journeyman.compare.result import compare_runs
from journeyman.compare.run import run_comparison
from journeyman.compare.tables import tables

__all__ = ["Entry", "Interval", "Plan", "compare_runs", "crossed_bootstrap", "plan_of", "read_plan", "run_comparison", "tables"]
