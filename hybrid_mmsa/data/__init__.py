"""Corpora and people's own posts, read into samples; splits and leak checks. It knows no models."""

from ..types.flat import ANSWER_COLUMNS, NUMBERS, flat_answer
from .columns import Columns, Reading
from .corpus import CORPORA, Corpus, find_corpus, load_corpus
from .line_file import LineFile
from .photos import PHOTOS, Photo, load_photos
from .posts import PostsFile, PostsInMemory, read_posts
from .records import LoadReport, Record, Split, joint_label
from .review import PictureForm, ReviewForm, answered_posts, to_review, write_review
from .splits import SplitManifest, load_manifest
from .writing import TABLE_SUFFIXES, check_suffix, write_table

__all__ = [
    "ANSWER_COLUMNS",
    "CORPORA",
    "NUMBERS",
    "PHOTOS",
    "TABLE_SUFFIXES",
    "Columns",
    "Corpus",
    "LineFile",
    "LoadReport",
    "Photo",
    "PictureForm",
    "PostsFile",
    "PostsInMemory",
    "Reading",
    "Record",
    "ReviewForm",
    "Split",
    "SplitManifest",
    "answered_posts",
    "check_suffix",
    "find_corpus",
    "flat_answer",
    "joint_label",
    "load_corpus",
    "load_manifest",
    "load_photos",
    "read_posts",
    "to_review",
    "write_review",
    "write_table",
]
