"""`hybrid-mmsa eval run | posts | report | results`: arguments in, results out. It holds no logic of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...analyzer import Analyzer
from ...data import load_corpus, read_posts
from ...errors import InputError
from ...evaluation import (
    AnalysisSource,
    Result,
    evaluate_posts,
    load_protocol,
    load_result,
    load_results,
    render_report,
    render_results,
    run_protocol,
    save_result,
    summary,
)
from ...inputs import NumberedRow
from ...reasoning import Reasoner, open_reasoner
from ...types import Analysis, RowError, Sample
from ..terminal.console import counted, emit, notes, page, say, tell_written
from ..terminal.options import (
    DETECTED,
    POSTS_HELP,
    AdapterChoice,
    AsJson,
    Model,
    ReadingOptions,
    ReasonerChoice,
    WrittenAsJson,
    check_file,
    with_options,
)
from ..terminal.whole import whole_file

__all__ = ["eval_app"]

eval_app = typer.Typer(help="Measure a model on a benchmark, or on your own labelled posts.", no_args_is_help=True)
Pattern = Annotated[
    str, typer.Option("--model", metavar="NAME_OR_PATH", help="A model; {fold} and {seed} in its name are filled in.")
]


@eval_app.command("run")
def run(
    protocol: Annotated[str, typer.Argument(help="A protocol file (.toml), or the name of a bundled one.")],
    data: Annotated[
        Path | None, typer.Option(help="The corpus's folder, in its official layout; a bundled corpus needs none.")
    ] = None,
    model: Pattern = "default",
    adapter: AdapterChoice = None,
    reasoner: ReasonerChoice = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Folder for the results.")] = Path(
        "eval-results"
    ),
    floors_only: Annotated[bool, typer.Option(help="Measure no model, only the floors.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model on a benchmark, with floors. An interrupted run continues where it stopped.

    For example:
        hybrid-mmsa eval run mvsa_single --data MVSA_Single
    """
    chosen, failed = load_protocol(protocol), 0
    system = _System.of(model, adapter, reasoner)
    folds = chosen.manifest().folds
    if folds and not system.varies_by("fold") and not floors_only:
        say(f"{chosen.name} needs a model for each of its {folds} folds (--model 'my-models/{{fold}}'): floors only")
        floors_only = True
    for seed in chosen.seeds if system.varies_by("seed") and not floors_only else (None,):
        seeded = system.filled_in("seed", seed)
        stem = f"{chosen.name}_{'floors' if floors_only else seeded.label}" + ("" if seed is None else f"_seed{seed}")
        partial = out / f"{stem}.partial.jsonl"
        with _progress() as advance:
            models, predictions = (None, None) if floors_only else (seeded.open, partial)
            result = run_protocol(chosen, data, models, predictions, advance)
        result = result.model_copy(update={"seed": seed})
        path = out / f"{result.date}_{stem}.json"
        save_result(result, path)
        if partial.is_file():  # so that the next run starts anew
            partial.replace(path.with_suffix(".predictions.jsonl"))
        say(f"wrote {path}")
        _show(result, as_json)
        failed += result.failed
    raise typer.Exit(1 if failed else 0)


@eval_app.command("posts")
@with_options("reading", DETECTED)
def posts(
    file: Annotated[Path, typer.Argument(help=f"Labelled posts: {POSTS_HELP}.")],
    model: Model = "default",
    adapter: AdapterChoice = None,
    reasoner: ReasonerChoice = None,
    sarcasm: Annotated[bool, typer.Option("--sarcasm", help="Score sarcasm instead of sentiment.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Also write the result to this file.")
    ] = None,
    as_json: AsJson = False,
    reading: ReadingOptions = DETECTED,
) -> None:
    """Measure a model on your own labelled posts: fused, text alone and picture alone.

    For example:
        hybrid-mmsa eval posts labelled.jsonl
    """
    check_file(out, "-o")
    rows = reading.open(file, labels=True)
    analyzer = _System.of(model, adapter, reasoner).open()
    with _progress() as advance:
        result = evaluate_posts(
            rows, analyzer, "sarcasm" if sarcasm else "sentiment", lambda count: advance(count, None)
        )
    if out is not None:
        save_result(result, out)
        say(f"wrote {out}")
    _show(result, as_json)
    raise typer.Exit(1 if result.failed else 0)


@eval_app.command("report")
def report(
    results: Annotated[list[Path], typer.Argument(help="Result files, or folders of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The page to write.")],
    texts: Annotated[Path | None, typer.Option(help="Your posts or corpus, to show the text of the mistakes.")] = None,
    as_json: WrittenAsJson = False,
) -> None:
    """Write results as one page that opens offline.

    For example:
        hybrid-mmsa eval report eval-results -o report.html
    """
    check_file(out, "-o")
    loaded = _load(results)
    words = {} if texts is None else _words(texts, loaded)
    _write(out, render_report(loaded, words), len(loaded), as_json)


@eval_app.command("results")
def results_page(
    folder: Annotated[Path, typer.Argument(help="Folder of result files.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The Markdown page to write.")],
    as_json: WrittenAsJson = False,
) -> None:
    """Write all results of a folder as one Markdown page.

    For example:
        hybrid-mmsa eval results eval-results -o results.md
    """
    check_file(out, "-o")
    loaded = _load([folder])
    _write(out, render_results(loaded), len(loaded), as_json)


@dataclass(frozen=True, slots=True)
class _System:
    """What is measured: a model, an adapter that answers in place of its own, a reasoner.

    `{fold}` and `{seed}` in the names of model and adapter stand for the fold and the seed.
    """

    model: str
    adapter: str | None
    reasoner: Reasoner | None

    @classmethod
    def of(cls, model: str, adapter: str | None, reasoner: str | None) -> _System:
        """From the command's options; the reasoner is opened once for all folds and seeds."""
        return cls(model, adapter, None if reasoner is None else open_reasoner(reasoner))

    @property
    def label(self) -> str:
        """Its name in the names of files."""
        return Path(self.adapter or self.model).name.replace("{fold}", "folds")

    def varies_by(self, name: str) -> bool:
        """Whether there is a model or adapter for each fold or seed."""
        return any(f"{{{name}}}" in pattern for pattern in (self.model, self.adapter or ""))

    def filled_in(self, name: str, number: int | None) -> _System:
        """The system of one fold or seed."""
        if number is None:
            return self
        place, value = f"{{{name}}}", str(number)
        adapter = None if self.adapter is None else self.adapter.replace(place, value)
        return replace(self, model=self.model.replace(place, value), adapter=adapter)

    def open(self, fold: int | None = None) -> AnalysisSource:
        """The analyzer of a fold, answering with the adapter."""
        system = self.filled_in("fold", fold)
        adapters = () if system.adapter is None else (system.adapter,)
        analyzer = Analyzer.from_pretrained(system.model, adapters=adapters, reasoner=self.reasoner)
        return analyzer if system.adapter is None else _WithAdapter(analyzer, [*analyzer.adapters][-1])


@dataclass(frozen=True, slots=True)
class _WithAdapter:
    """An analyzer that answers with one of its adapters."""

    analyzer: Analyzer
    adapter: str

    def stream(self, rows: Iterable[NumberedRow]) -> Iterator[Analysis | RowError]:
        """See `Analyzer.stream`."""
        return self.analyzer.stream(rows, adapter=self.adapter)


def _load(paths: list[Path]) -> list[Result]:
    results = [r for path in paths for r in (load_results(path) if path.is_dir() else [load_result(path)])]
    if not results:
        raise InputError("no result files there", field="results")
    return results


def _write(out: Path, text: str, results: int, as_json: bool) -> None:
    with whole_file(out) as draft:
        draft.write_text(text, encoding="utf-8")
    tell_written(f"{counted(results, 'result')} in {out}", [out], as_json=as_json, results=results)


def _words(source: Path, results: list[Result]) -> dict[str, str]:
    """The texts of posts by id, from a file of posts or a corpus folder."""
    if source.is_dir():
        names = dict.fromkeys(result.corpus for result in results if result.corpus)
        samples = [record.sample for name in names for record in load_corpus(name, source)]
    else:
        samples = [row for _, row in read_posts(source) if isinstance(row, Sample)]
    return {sample.id: sample.text for sample in samples if sample.id and sample.text}


def _show(result: Result, as_json: bool) -> None:
    if as_json:
        emit(result.model_dump_json())
    else:
        page().print(summary(result), soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[int, int | None], None]]:
    columns = (TextColumn("posts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = notes()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("posts", total=None)
        yield lambda count, total: bar.update(task, completed=count, total=total)
