"""Encoders, reasoners and corpora of other packages: found by entry point, imported when one is named.

A package declares what it offers in its own `pyproject.toml`:

    [project.entry-points."hybrid_mmsa.encoders"]
    tiny = "my_package:open_tiny"      # opens `tiny` and `tiny:REST`, see `encoders.open_encoder`

    [project.entry-points."hybrid_mmsa.reasoners"]
    rules = "my_package:open_rules"    # opens `rules` and `rules:REST`, see `reasoning.open_reasoner`

    [project.entry-points."hybrid_mmsa.corpora"]
    reviews = "my_package:REVIEWS"     # a `data.Corpus`, see `data.load_corpus`

Built-in names are looked up first, so a plugin cannot take one of them; `hybrid-mmsa doctor` names a plugin that tries.
This module knows nothing of encoders, reasoners and corpora.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeAlias

from .errors import PluginError
from .foreign import translated

__all__ = ["GROUPS", "Plugin", "PluginGroup", "find_plugin", "installed_plugins", "plugin_names"]

PluginGroup: TypeAlias = Literal["encoders", "reasoners", "corpora"]
GROUPS: dict[PluginGroup, str] = {"encoders": "encoder", "reasoners": "reasoner", "corpora": "corpus"}
"""Each group, named `hybrid_mmsa.GROUP` as an entry point, and what one of its plugins is called in messages."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """What an installed package offers under a name. Nothing of the package is imported before `load`.

    Attributes:
        group: What it is.
        name: Its name.
        package: The distribution that brings it, and its version.
    """

    group: PluginGroup
    name: str
    package: str
    _entry_point: EntryPoint

    def __str__(self) -> str:
        return f"the {GROUPS[self.group]} {self.name!r} of the package {self.package}"

    def load(self) -> Any:
        """Import the object that the entry point refers to.

        Raises:
            PluginError: It cannot be imported.
        """
        with self.border("cannot be imported"):
            return self._entry_point.load()

    @contextmanager
    def border(self, failure: str) -> Iterator[None]:
        """Turn what the package raises into `PluginError`; errors of ours pass unchanged.

        Args:
            failure: What could not be done, as the predicate of the error's sentence.
        """
        with translated(lambda cause: self.error(f"{failure} ({cause})")):
            yield

    def error(self, fault: str) -> PluginError:
        """The error for a fault of this plugin.

        Args:
            fault: What is wrong, as the predicate of the error's sentence.
        """
        return PluginError(f"{self} {fault}; repair or uninstall that package", package=self.package)


def find_plugin(group: PluginGroup, name: str) -> Plugin | None:
    """The plugin of a name, or `None` where no installed package offers one.

    Args:
        group: Where to look.
        name: A name that is not built in: callers look up their own names first.

    Raises:
        PluginError: Two packages offer it.
    """
    plugins = [plugin for plugin in installed_plugins(group) if plugin.name == name]
    if len(plugins) > 1:
        packages = " and ".join(plugin.package for plugin in plugins)
        raise PluginError(
            f"the {GROUPS[group]} {name!r} is offered by two packages, {packages}; uninstall one of them",
            package=plugins[0].package,
        )
    return plugins[0] if plugins else None


def installed_plugins(group: PluginGroup) -> list[Plugin]:
    """What installed packages offer, by name. It imports none of them."""
    plugins = []
    for entry in entry_points(group=f"hybrid_mmsa.{group}"):
        package = "an unknown name" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
        plugins.append(Plugin(group, entry.name, package, entry))
    return sorted(plugins, key=lambda plugin: (plugin.name, plugin.package))


def plugin_names(group: PluginGroup, built_in: Collection[str]) -> str:
    """The names that may be asked for, for the message that another is not known: built-in ones, then plugins."""
    return ", ".join([*built_in, *(p.name for p in installed_plugins(group) if p.name not in built_in)])
