"""From what the user names (runs, sweeps, a query) to runs that can be compared."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from resetrl.compare.folders import (
    SCORES,
    Answers,
    FoundRun,
    cells_without_run,
    read_answers,
    read_folder,
    run_folders,
)
from resetrl.compare.records import COSTS, CompareError, Question, RunData
from resetrl.errors import ResetrlError, list_names
from resetrl.run.names import find_run, folders_here, is_id, matching
from resetrl.run.tracking.config import TrackingConfig, redacted, resolve_uri, sqlite_path
from resetrl.run.tracking.facts import RUN_FOLDER_TAG
from resetrl.run.tracking.query import (
    CONNECTIONS,
    SWEEP_TAG,
    History,
    RunQuery,
    StoredRun,
    quoted,
)
from resetrl.run.tracking.spool import RUN_FILE, TABLE, read_run
from resetrl.run.tracking.store import PARENT_TAG


@dataclass(frozen=True)
class Request:
    """What the command line names: runs or sweeps, or else all runs of an experiment.

    `where` is a filter in MLflow's language, `experiment` and `uri` say where to look.
    """

    names: Sequence[str] = ()
    where: str = ""
    experiment: str | None = None
    uri: str = TrackingConfig.uri


@dataclass(frozen=True)
class Parent:
    """The MLflow run of a sweep: where its comparison is logged."""

    uri: str
    run_id: str


@dataclass(frozen=True)
class Loaded:
    """The runs, the sweep they all are of (if one sweep was named), and where they are from."""

    runs: list[RunData]
    parent: Parent | None
    source: str


def load(request: Request, question: Question) -> Loaded:
    """Find and read the runs; raises CompareError or ConfigError if there is none."""
    metrics = [question.metric]
    if question.x != "step":
        metrics.append(f"total/{question.x}")
    finder = Finder(request, metrics)
    found = finder.find()
    _check_metrics(found, metrics)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        runs = list(pool.map(lambda run: _run_data(run, question, finder), found))
    return Loaded(runs, _parent(request, found, finder.parents), _source(request))


def _check_metrics(found: Sequence[FoundRun], metrics: Sequence[str]) -> None:
    """Raise CompareError if no run at all has a metric, with those that look like it."""
    known = sorted({name for run in found for name in run.last})
    for metric in metrics:
        if known and metric not in known:
            near = difflib.get_close_matches(metric, known, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else f"choose {list_names(known)}"
            raise CompareError(f"no run has {metric}: {hint}")


class Finder:
    """Finds runs on disk and in one MLflow store, which is opened when it is first needed."""

    def __init__(self, request: Request, metrics: Sequence[str]) -> None:
        self.request = request
        self.metrics = metrics
        self.parents: list[str] = []
        self.cells: list[FoundRun] = []
        self._query: RunQuery | None = None

    @property
    def query(self) -> RunQuery:
        if self._query is None:
            self._query = RunQuery(self.request.uri)
        return self._query

    def find(self) -> list[FoundRun]:
        """All runs that the request names, each once."""
        request = self.request
        named = {name: self._named(name) for name in request.names}
        folders = [found for found in named.values() if isinstance(found, Path)]
        if folders and request.where:
            raise CompareError(
                f"--where filters runs of an MLflow store, {folders[0]} is a folder: leave out one"
            )
        for folder in folders:
            self.cells += cells_without_run(folder)
        found = [read_folder(run, self.metrics) for each in folders for run in run_folders(each)]
        stored = [run for runs in named.values() if not isinstance(runs, Path) for run in runs]
        if not request.names:
            stored = self._all()
        known = {run.run_id: run for run in stored}
        found += self._complete(*(run for run in known.values() if not _is_parent(run, known)))
        if not found:
            raise CompareError(f"{', '.join(request.names)} has no runs yet: wait, or name another")
        return list({run.run_id or str(run.folder): run for run in [*found, *self.cells]}.values())

    def one(self, name: str) -> FoundRun:
        """The run of a folder, an MLflow id or a name, for which no sweep will do."""
        found = self._named(name)
        if isinstance(found, Path):
            folders = run_folders(found)
            _only_one(name, [str(folder) for folder in folders])
            return read_folder(folders[0], self.metrics)
        _only_one(name, [run.tags.get(RUN_FOLDER_TAG) or run.run_id for run in found])
        return self._complete(*found)[0]

    def answers(self, run: FoundRun, step: int, is_last: bool) -> Answers:
        """The answers of an evaluation: from the run's folder if it is here, else from MLflow."""
        if run.folder is not None:
            answers = read_answers(run.folder, step)
            if answers.rows or not run.uri:
                return answers
        if not is_last or self._query is None or self._query.uri != run.uri:
            return Answers(())
        return Answers(self._query.table(run.run_id, TABLE))

    def _all(self) -> list[StoredRun]:
        request = self.request
        experiment = request.experiment or TrackingConfig.experiment
        found = self.query.search([request.where] if request.where else [], experiment)
        if not found:
            matching = f" that match {request.where!r}" if request.where else ""
            raise CompareError(
                f"experiment {experiment} in {redacted(self.query.uri)} has no runs{matching}: "
                "name runs or sweeps, or another --experiment, --where or --uri"
            )
        return found

    def _named(self, name: str) -> Path | list[StoredRun]:
        """A folder, or the run of that id, the runs of a sweep, or those of that name.

        What the store has under the whole name comes before folders that `find_run` knows.
        """
        if Path(name).is_dir():
            return Path(name)
        if is_id(name):
            run = self.query.run(name)
            if run is None:
                raise CompareError(
                    f"run {name} is not in {redacted(self.query.uri)}: name its store with --uri"
                )
            return self._sweep(run) or [run]
        if not matching(name, folders_here(and_sweeps=True)) or self.request.where:
            return self._stored(name) or self._unknown(name)
        database = sqlite_path(resolve_uri(self.request.uri, Path.cwd()))
        is_there = database is None or database.is_file()
        return (is_there and self._stored(name)) or find_run(name, self.request.uri, or_sweep=True)

    def _stored(self, name: str) -> list[StoredRun]:
        """The runs of the sweeps of a name, or those of that name."""
        parents = self.query.search([f"tags.`{SWEEP_TAG}` = {quoted(name)}"], None)
        if parents:
            return [run for parent in parents for run in self._sweep(parent)]
        return self._search(f"attributes.run_name = {quoted(name)}")

    def _sweep(self, parent: StoredRun) -> list[StoredRun]:
        """The runs of a sweep; its cells without a run are noted, if its folder is here."""
        children = self._descendants(parent.run_id)
        if children:
            self.parents.append(parent.run_id)
            folder = parent.tags.get(RUN_FOLDER_TAG)
            self.cells += cells_without_run(Path(folder)) if folder else []
        return children

    def _unknown(self, name: str) -> NoReturn:
        named = self.query.search([f"tags.`{SWEEP_TAG}` != ''"], None)
        sweeps = sorted({run.tags[SWEEP_TAG] for run in named})
        listed = f" (sweeps there: {', '.join(sweeps)})" if sweeps else ""
        that_match = f" that matches {self.request.where!r}" if self.request.where else ""
        raise CompareError(
            f"{name} is no folder, and no sweep, run name or run id of "
            f"{redacted(self.query.uri)}{that_match}{listed}: name a run folder, or the store with "
            "--uri"
        )

    def _search(self, condition: str) -> list[StoredRun]:
        where = [self.request.where] if self.request.where else []
        return self.query.search([condition, *where], self.request.experiment)

    def _descendants(self, run_id: str) -> list[StoredRun]:
        """The runs of a sweep; those of a search lie below its trials, which have no run seed."""
        below = f"tags.`{PARENT_TAG}` = {quoted(run_id)}"
        children = self.query.search([below], None)
        wanted = {run.run_id for run in self._search(below)} if self.request.where else None
        found = []
        for child in children:
            inner = [] if "seed" in child.tags else self._descendants(child.run_id)
            if inner or wanted is None or child.run_id in wanted:
                found += inner or [child]
        return found

    def _complete(self, *runs: StoredRun) -> list[FoundRun]:
        """Stored runs with their histories, and their folders where these are here."""
        ids = [run.run_id for run in runs]
        histories = self.query.histories(ids, self.metrics) if ids else []
        return [
            FoundRun(
                run_id=run.run_id,
                name=run.name,
                status=run.status,
                tags=run.tags,
                params=run.params,
                histories=history,
                last=run.metrics,
                uri=self.query.uri,
                folder=_folder_here(run),
            )
            for run, history in zip(runs, histories, strict=True)
        ]


def _only_one(name: str, found: Sequence[str]) -> None:
    if len(found) > 1:
        listed = list_names(found, most=8)
        raise CompareError(f"{name} is {len(found)} runs ({listed}): name one of them")


def _is_parent(run: StoredRun, runs: Mapping[str, StoredRun]) -> bool:
    """Whether a run only holds others together, as that of a sweep does."""
    if SWEEP_TAG in run.tags and PARENT_TAG not in run.tags:
        return True
    return any(other.tags.get(PARENT_TAG) == run.run_id for other in runs.values())


def _folder_here(run: StoredRun) -> Path | None:
    """The run's folder, if it is on this machine and still this run's."""
    folder = Path(run.tags.get(RUN_FOLDER_TAG, ""))
    try:
        is_here = read_run(folder).run_id == run.run_id
    except ResetrlError:
        return None
    return folder if is_here else None


def _run_data(found: FoundRun, question: Question, finder: Finder) -> RunData:
    """A found run as the question sees it."""
    points = found.histories.get(question.metric, ())
    if question.x != "step":
        ledger = found.histories.get(f"total/{question.x}", ())
        points = [point for point in points if ledger]
        xs = [_at_step(ledger, step) for step, _ in points]
    else:
        xs = [float(step) for step, _ in points]
    columns = {name: f"total/{name}" for name in COSTS}
    run = RunData(
        run_id=found.run_id,
        name=found.name,
        status=found.status,
        tags=found.tags,
        params=found.params,
        steps=tuple(step for step, _ in points),
        xs=tuple(xs),
        values=tuple(value for _, value in points),
        totals={name: found.last[key] for name, key in columns.items() if key in found.last},
    )
    if not points or question.metric not in SCORES:
        return run
    place = run.place("best" if question.at == "best" else "last")
    try:
        answers = finder.answers(found, run.steps[place], place == len(points) - 1)
    except ResetrlError as error:
        return replace(run, problem=f"its answers could not be read ({error})")
    return replace(
        run,
        answers=answers.scores(SCORES[question.metric]),
        answers_step=run.steps[place],
        problems=answers.problems,
    )


def _at_step(ledger: History, step: int) -> float:
    """What a run had cost by a step; nothing before the first."""
    return max((value for earlier, value in ledger if earlier <= step), default=0.0)


def _parent(request: Request, found: Sequence[FoundRun], parents: Sequence[str]) -> Parent | None:
    """The sweep's own run, if all of one sweep was asked for."""
    if len(request.names) != 1 or request.where:
        return None
    if len(parents) == 1:
        return Parent(found[0].uri, parents[0])
    folder = Path(request.names[0])
    if folder.is_dir() and run_folders(folder) != [folder] and (folder / RUN_FILE).is_file():
        sweep = read_run(folder)
        return Parent(sweep.uri, sweep.run_id) if sweep.run_id else None
    return None


def _source(request: Request) -> str:
    """Where the runs are from, in words: `sweep-3 in sqlite:///mlflow.db`."""
    names = [name for name in request.names if not Path(name).is_dir()]
    folders = [name for name in request.names if Path(name).is_dir()]
    parts = folders
    if names or not folders:
        experiment = request.experiment or ("" if names else TrackingConfig.experiment)
        what = ", ".join(names) or f"experiment {experiment}"
        parts = [*folders, f"{what} in {redacted(request.uri)}"]
    where = f", where {request.where}" if request.where else ""
    return f"{', '.join(parts)}{where}"
