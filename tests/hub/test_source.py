"""Rows from the hub, by a stand-in for the package that reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants
from published import FOLDER

from resetrl.builtin.rows import file_rows
from resetrl.errors import ConfigError, DataError
from resetrl.hub import source
from resetrl.hub.manifest import read_manifest
from resetrl.hub.source import files_of, rows_of
from resetrl.hub.task import Hub


class Gated(Exception):
    """What the package raises of data sets that one may not read."""


@dataclass
class FakeDataset:
    rows: list[dict[str, Any]]

    @property
    def column_names(self) -> list[str]:
        return list(self.rows[0])

    def select_columns(self, names: list[str]) -> FakeDataset:
        return FakeDataset([{name: row[name] for name in names} for row in self.rows])

    def iter(self, batch_size: int) -> Iterator[dict[str, list[Any]]]:
        for start in range(0, len(self.rows), 5):  # a smaller one, so that there are several
            rows = self.rows[start : start + 5]
            yield {name: [row[name] for row in rows] for name in rows[0]}


@dataclass
class FakeDatasets:
    """Answers `load_dataset` with made-up rows, or with an error, and keeps what it was asked."""

    error: Exception | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def load_dataset(self, path: str, name: str | None = None, **options: Any) -> FakeDataset:
        self.asked.append((path, name, options))
        if self.error:
            raise self.error
        if path == "json":
            folder, split = FOLDER / "livecodebench_medium", "test"
        else:
            (folder,) = (FOLDER / mine for mine, hub in HUB_IDS.items() if hub == path)
            split = options["split"]
        file = next(file for file in sorted(folder.rglob(f"{split}.jsonl")))
        return FakeDataset([dict(row) for _, row in file_rows(file)])


HUB_IDS = {"gsm8k": "openai/gsm8k", "strategyqa": "ChilleD/StrategyQA"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeDatasets:
    fake = FakeDatasets()
    module = ModuleType("datasets")
    module.load_dataset = fake.load_dataset  # type: ignore[attr-defined]
    module.exceptions = SimpleNamespace(DatasetsError=Gated)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(source, "hub_answers", lambda: True)
    return fake


def test_a_hub_that_does_not_answer_is_told_at_once_with_the_way_round(
    hub: FakeDatasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "hub_answers", lambda: False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    manifest = read_manifest("gsm8k", pins=None)
    assert list(rows_of("gsm8k", manifest, "test", None))  # downloaded before
    hub.error = ConnectionError("offline")
    with pytest.raises(
        DataError,
        match=r"task gsm8k: the hub does not answer, and openai/gsm8k at revision 740312add88f was "
        r"not downloaded before: connect, or give task\.folder=.* suite\.folder=FOLDER",
    ):
        Hub("gsm8k").problems("eval")
    with pytest.raises(DataError, match=r"the revision of openai/gsm8k is not known: connect"):
        source.newest_revision("gsm8k", manifest)
    assert constants.HF_HUB_OFFLINE is False


def test_a_closed_port_is_no_hub_and_any_answer_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert not source.hub_answers()
    monkeypatch.setattr(constants, "ENDPOINT", Path(__file__).as_uri())
    assert source.hub_answers()


def test_the_hub_is_read_at_the_pinned_commit(hub: FakeDatasets) -> None:
    manifest = read_manifest("gsm8k", pins=None)
    places = [place for place, _ in rows_of("gsm8k", manifest, "test", None)]
    assert places[:2] == ["openai/gsm8k test row 1", "openai/gsm8k test row 2"]
    commit = "740312add88f781978c0658806c59bc2815b9866"
    assert hub.asked == [("openai/gsm8k", "main", {"split": "test", "revision": commit})]


def test_the_same_rows_give_the_same_problems_from_hub_and_folder(hub: FakeDatasets) -> None:
    manifest = read_manifest("strategyqa", FOLDER / "strategyqa" / "pin.yaml")
    from_hub = Hub("strategyqa").read(read_manifest("strategyqa", pins=None))
    assert from_hub.sha256 == manifest.sha256


def test_only_the_columns_that_the_manifest_names_are_read(hub: FakeDatasets) -> None:
    manifest = read_manifest("strategyqa", pins=None)
    _, row = next(rows_of("strategyqa", manifest, "train", None))
    assert list(row) == ["question", "answer", "qid"]


def test_files_are_asked_for_by_name_and_commit(hub: FakeDatasets) -> None:
    manifest = read_manifest("livecodebench_medium", pins=None)
    assert len(list(rows_of("livecodebench_medium", manifest, "test", None))) == 12
    ((form, _, options),) = hub.asked
    assert form == "json" and len(options["data_files"]) == 6
    assert options["data_files"][5] == (
        "hf://datasets/livecodebench/code_generation_lite@0fe84c3912ea0c4d4a78037083943e8f0c4dd505"
        "/test6.jsonl"
    )


@pytest.mark.parametrize(
    "error",
    [
        Gated("is a gated dataset"),
        ConnectionError("Couldn't reach it"),
        ValueError("Unknown split"),
    ],
)
def test_a_hub_that_does_not_answer_is_one_sentence(hub: FakeDatasets, error: Exception) -> None:
    hub.error = error
    with pytest.raises(
        DataError,
        match=rf"^task gsm8k: the hub does not give openai/gsm8k at revision 740312add88f "
        rf"\({type(error).__name__}: .*\): connect, .*hf auth login.* or give task\.folder=",
    ):
        Hub("gsm8k").problems("eval")


def test_a_missing_field_is_named_with_the_row(hub: FakeDatasets, monkeypatch: Any) -> None:
    rows = [{"question": "Is it?", "qid": "a"}]
    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", lambda *a, **k: FakeDataset(rows))
    with pytest.raises(DataError, match="StrategyQA test row 1 has no field 'answer': its fields"):
        Hub("strategyqa").problems("eval")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        ConfigError, match=r"run `pip install resetrl\[hub\]`, or give task\.folder"
    ):
        Hub("gsm8k").problems("eval")


def test_a_manifest_without_a_revision_is_to_be_pinned_first(
    hub: FakeDatasets, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("hub: a/b\nsplits: {eval: test}\nquestion: q\nanswer: a\nverifier: exact\n")
    with pytest.raises(
        ConfigError, match="task mine names no revision of a/b: run `resetrl task p"
    ):
        Hub(str(mine)).problems("eval")
    assert hub.asked == []


def test_files_of_a_folder_are_told_by_split_and_subset(tmp_path: Path) -> None:
    manifest = read_manifest("gsm8k", pins=None)
    for name in ("main/train-00000-of-00001.parquet", "main/test.jsonl", "socratic/test.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {split: files_of(manifest, split, tmp_path) for split in ("train", "test")}
    assert found == {
        "train": [tmp_path / "main/train-00000-of-00001.parquet"],
        "test": [tmp_path / "main/test.jsonl"],
    }


def test_the_package_itself_gives_the_rows_as_the_files_do(
    monkeypatch: Any, tmp_path: Path
) -> None:
    """The real package, on a file in place of the hub's."""
    datasets = pytest.importorskip("datasets")
    read = datasets.load_dataset

    def load(path: str, name: str | None, split: str, revision: str) -> Any:
        file = str(FOLDER / "commonsense_qa" / f"{split}.jsonl")
        return read("json", data_files=file, split="train", cache_dir=str(tmp_path))

    monkeypatch.setattr(datasets, "load_dataset", load)
    pinned = read_manifest("commonsense_qa", FOLDER / "commonsense_qa" / "pin.yaml")
    manifest = read_manifest("commonsense_qa", pins=None)
    assert Hub("commonsense_qa").read(manifest).sha256 == pinned.sha256
