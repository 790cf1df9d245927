"""`fit_adapter`: labelled posts → an adapter of the fast tier, in one call. It holds no logic of its own.

Importing it draws in no package of the extra `tune`, and reads no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..adapters import resolve_adapter
from ..errors import InputError
from ..extras import needs
from ..foreign import translated
from ..fusion import Strategy
from .heads.figures import AdapterFigures

if TYPE_CHECKING:
    from ..data import PostsFile
    from ..inputs import Row

__all__ = ["fit_adapter"]


def fit_adapter(
    posts: str | Path | PostsFile | Iterable[Row],
    out: str | Path,
    *,
    encoder: str = "compact",
    strategy: Strategy = "gated",
    few_shot: bool | None = None,
    seed: int = 0,
    before: str | Path | None = None,
    force: bool = False,
    features: Path | None = None,
    threads: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> AdapterFigures:
    """Fit heads, calibration and router to labelled posts, measure them, and write an adapter's folder.

    `Analyzer.from_pretrained(out)` opens it. `hybrid-mmsa adapter train POSTS --fast -o OUT` does the same.

    Args:
        posts: A file as `data.read_posts` reads it, what that made of it, or posts as `Analyzer.stream` takes them:
            samples, mappings or named tuples, each with a `label`.
        out: The adapter's folder; its name is the adapter's. It must be new, unless `force` is given.
        encoder: The encoder whose features are read: `compact`, or another of local files.
        strategy: How the two sides are joined: `early`, `late`, `attention` or `gated`.
        few_shot: Whether the heads stay close to the bundled ones; by default where a label has 64 posts or fewer.
        seed: Draws the parts that are trained and tested on.
        before: An adapter to compare with, beside the bundled model; by default the one that is replaced.
        force: Replace an adapter that is in `out`, once the new one is fitted.
        features: A folder where the encoder's features are kept for other runs.
        threads: Threads per operator of the compact encoder.
        advance: Called after every post that was encoded.

    Returns:
        The figures on posts that the heads that answered were not fitted to; `ready` says whether it is worth using.

    Raises:
        InputError: Posts that cannot be used, are too few or contradict one another; a folder that is not free.
        ArtefactError: No such encoder or adapter, or a damaged one.
        MissingExtraError: The extra `tune` is not installed.
    """
    with needs("tune", "fitting an adapter"):
        from ..data import PostsFile, PostsInMemory
        from .heads.adapting import least_posts, plan_adapter, train_adapter
        from .posts.labelled_file import read_labelled_file

        with translated(lambda cause: InputError(f"the posts cannot be read ({cause})", field="posts")):
            rows = Path(posts) if isinstance(posts, str | Path) else posts
            known = rows if isinstance(rows, Path | PostsFile) else PostsInMemory(rows)
            folder = Path(out)
        plan = plan_adapter(
            read_labelled_file(known, least=least_posts(few_shot)),
            folder,
            encoder=encoder,
            few_shot=few_shot,
            strategy=strategy,
            seed=seed,
            before=None if before is None else resolve_adapter(before),
            force=force,
        )
        return train_adapter(plan, features=features, threads=threads, advance=advance)
