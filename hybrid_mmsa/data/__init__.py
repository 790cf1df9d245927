"""Corpora and people's own posts, read into samples; splits and leak checks. It knows no models."""

from .columns import Reading
from .corpus import CORPORA, Corpus, find_corpus, load_corpus
from .line_file import LineFile
from .photos import PHOTOS, Photo, load_photos
from .posts import PostsFile, read_posts
from .records import LoadReport, Record, Split, joint_label
from .splits import SplitManifest, load_manifest

__all__ = [
    "CORPORA",
    "PHOTOS",
    "Corpus",
    "LineFile",
    "LoadReport",
    "Photo",
    "PostsFile",
    "Reading",
    "Record",
    "Split",
    "SplitManifest",
    "find_corpus",
    "joint_label",
    "load_corpus",
    "load_manifest",
    "load_photos",
    "read_posts",
]
