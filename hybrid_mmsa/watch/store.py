"""What a watch remembers, in one SQLite file: shares by group and window, ids, alerts, counts. It decides nothing.

What is written between two `commit`s is there whole or not at all, so a watch that is killed and started again over the
same posts counts none of them twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..errors import InputError
from .alerts import Alert

__all__ = ["Counts", "Store"]

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS windows (grp TEXT, start INTEGER, posts INTEGER, negative INTEGER, positive INTEGER,
    deferred INTEGER, PRIMARY KEY (grp, start)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS windows_by_start ON windows (start);
CREATE TABLE IF NOT EXISTS seen (id INTEGER PRIMARY KEY, start INTEGER);
CREATE TABLE IF NOT EXISTS alerts (number INTEGER PRIMARY KEY, alert TEXT);
CREATE TABLE IF NOT EXISTS series (grp TEXT, measure TEXT, state TEXT, PRIMARY KEY (grp, measure)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tallies (name TEXT PRIMARY KEY, count INTEGER) WITHOUT ROWID;
"""


@dataclass(slots=True)
class Counts:
    """Posts of one group in one window."""

    posts: int = 0
    negative: int = 0
    positive: int = 0
    deferred: int = 0


class Store:
    """The file of a watch; a context manager that closes it.

    Args:
        path: Where it is; `None` keeps all in memory.

    Raises:
        InputError: There is something else, or another watch is writing it.
    """

    def __init__(self, path: Path | None = None) -> None:
        try:
            self._base = sqlite3.connect(":memory:" if path is None else path, isolation_level=None, timeout=1)
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._base.executescript(_TABLES)
            self._base.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise InputError(f"{path} cannot be opened as the state of a watch: {error}", field="--state") from error

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def commit(self) -> None:
        """Let what was written since the last time stay."""
        self._base.execute("COMMIT")
        self._base.execute("BEGIN IMMEDIATE")

    def settle(self, facts: Mapping[str, object]) -> None:
        """Keep what the shares depend on, or check that it is what they were begun with.

        Raises:
            InputError: It is not.
        """
        for name, value in facts.items():
            before = self.fact(name)
            if before is None:
                self.keep_fact(name, value)
            elif before != value:
                raise InputError(
                    f"the state was begun with {name} {before}, this is {value}; name another file", field="--state"
                )

    def fact(self, name: str) -> Any:
        """A value that was kept; `None` without one."""
        row = self._base.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def keep_fact(self, name: str, value: object) -> None:
        """Keep a value of JSON by its name."""
        self._base.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def is_new(self, id_: str, start: int) -> bool:
        """Note the id of a post of a window; whether it was not noted before."""
        number = int.from_bytes(blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=8).digest(), signed=True)
        return self._base.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (number, start)).rowcount > 0

    def forget_before(self, start: int) -> None:
        """Forget the ids of windows that began before a moment."""
        self._base.execute("DELETE FROM seen WHERE start < ?", (start,))

    def keep_windows(self, rows: Mapping[tuple[str, int], Counts]) -> None:
        """Write the counts of some groups and windows, in place of what is there."""
        values = [(g, s, c.posts, c.negative, c.positive, c.deferred) for (g, s), c in rows.items()]
        self._base.executemany("INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?, ?, ?)", values)

    def windows(self, group: str | None = None, since: int | None = None) -> Iterator[tuple[str, int, Counts]]:
        """The windows of a group, or of all, from a moment on, in the order of their starts."""
        where, values = ["1"], []
        for column, value in (("grp = ?", group), ("start >= ?", since)):
            if value is not None:
                where.append(column)
                values.append(value)
        query = f"SELECT * FROM windows WHERE {' AND '.join(where)} ORDER BY start, grp"  # columns of ours alone
        for name, start, *counts in self._base.execute(query, values):
            yield name, start, Counts(*counts)

    def groups(self) -> list[str]:
        """All groups, those of most posts first."""
        query = "SELECT grp FROM windows GROUP BY grp ORDER BY sum(posts) DESC, grp"
        return [group for (group,) in self._base.execute(query)]

    def keep_alert(self, alert: Alert) -> None:
        """Add an alert."""
        self._base.execute("INSERT INTO alerts (alert) VALUES (?)", (alert.model_dump_json(),))

    def alerts(self, most: int = 50) -> list[Alert]:
        """The last alerts, the newest first."""
        rows = self._base.execute("SELECT alert FROM alerts ORDER BY number DESC LIMIT ?", (most,))
        return [Alert.model_validate_json(alert) for (alert,) in rows]

    def keep_series(self, states: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Write what detectors know, by group and measure."""
        rows = [(group, measure, json.dumps(state)) for group, measure, state in states]
        self._base.executemany("INSERT OR REPLACE INTO series VALUES (?, ?, ?)", rows)

    def series(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """What detectors knew."""
        for group, measure, state in self._base.execute("SELECT * FROM series"):
            yield group, measure, json.loads(state)

    def count(self, tallies: Mapping[str, int]) -> None:
        """Add to what is counted by name."""
        self._base.executemany(
            "INSERT INTO tallies VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + excluded.count",
            tallies.items(),
        )

    def tallies(self) -> dict[str, int]:
        """What was counted."""
        return dict(self._base.execute("SELECT * FROM tallies ORDER BY name"))
