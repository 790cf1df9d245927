"""The door of every optional feature: a package that is not installed becomes one error with its install line.

It knows no feature and imports no package. Behind the door the packages report nothing to their makers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import HybridError, MissingExtraError
from .privacy import switch_telemetry_off

__all__ = ["needs"]

OWN_PACKAGE = __name__.partition(".")[0]


@contextmanager
def needs(extra: str, feature: str) -> Iterator[None]:
    """Translate the failed import of an optional package into `MissingExtraError`.

    It goes around the statements that import the packages of a feature, at the feature's door:

        with needs("tune", "training an adapter"):
            from ...training.heads.adapting import train_adapter

    An import that fails inside this package is a defect and stays as it is.

    Args:
        extra: The extra that installs the packages, as `pyproject.toml` names it.
        feature: What needs them, as the subject of the error's sentence.

    Raises:
        MissingExtraError: A package is not installed, or is too old to offer what is imported from it.
    """
    switch_telemetry_off()
    try:
        yield
    except ImportError as error:
        if isinstance(error, HybridError) or (error.name or "").partition(".")[0] == OWN_PACKAGE:
            raise
        cause = "" if isinstance(error, ModuleNotFoundError) else f" ({str(error).strip().splitlines()[0]})"
        raise MissingExtraError(f"{feature}{cause}", extra) from error
