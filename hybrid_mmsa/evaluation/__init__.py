"""Measuring: a protocol or one's own posts → a dated result, and a result → tables and pages. It trains nothing."""

from __future__ import annotations

from .markdown import render_results
from .posts import evaluate_posts
from .predictions import AnalysisSource
from .protocol import Protocol, load_protocol
from .report import render_report
from .result import Result, load_result, load_results, save_result
from .run import run_protocol
from .tables import summary

__all__ = [
    "AnalysisSource",
    "Protocol",
    "Result",
    "evaluate_posts",
    "load_protocol",
    "load_result",
    "load_results",
    "render_report",
    "render_results",
    "run_protocol",
    "save_result",
    "summary",
]
