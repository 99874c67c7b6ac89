"""A run's report: one HTML file that works offline, and the same page live while the run goes on."""

from journeyman.report.live import watch
from journeyman.report.page import render, write_report

__all__ = ["render", "watch", "write_report"]
