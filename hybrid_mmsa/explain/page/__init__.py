"""The analyst's page: posts and their analyses → one HTML file that opens offline. It computes no evidence."""

from __future__ import annotations

from .entries import AnswerFunction, Entry, entries
from .render import POSTS_SHOWN, Page, render_page
from .thumbnail import thumbnail

__all__ = ["POSTS_SHOWN", "AnswerFunction", "Entry", "Page", "entries", "render_page", "thumbnail"]
