"""Films and recorded calls: who says what, what is shown with it, and what is felt, along the time (extra `video`)."""

from __future__ import annotations

from .analyze import FaceReader, SeenFace, analyze_video
from .page import timeline_page
from .timeline import (
    TIMELINE_VERSION,
    Curve,
    Film,
    Instance,
    Moment,
    MomentKind,
    Point,
    Segment,
    Talk,
    Timeline,
)
from .transcript import Roles, Transcript, TranscriptSource, read_transcript

__all__ = [
    "TIMELINE_VERSION",
    "Curve",
    "FaceReader",
    "Film",
    "Instance",
    "Moment",
    "MomentKind",
    "Point",
    "Roles",
    "SeenFace",
    "Segment",
    "Talk",
    "Timeline",
    "Transcript",
    "TranscriptSource",
    "analyze_video",
    "read_transcript",
    "timeline_page",
]
