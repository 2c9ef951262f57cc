from io import StringIO

from rich.console import Console
from searching import search_of, space_of

from resetrl.run.tracking.spool import RunFile, TrackedRun, read_run
from resetrl.sweep.optuna_tracking import study_tags, tag_parent


def console():
    return Console(file=StringIO())


def test_the_parent_is_told_the_best_trial(tmp_path):
    search = search_of(
        tmp_path, space_of("x=1,4,2"), lambda job: float(job["x"]) / 8, sampler="grid"
    )
    search.run()
    tags = study_tags(search.study, "mysql://ada:secret@host/db")
    assert tags == {
        "optuna.study": "a study",
        "optuna.storage": "mysql://***@host/db",
        "optuna.best_trial": "1",
        "optuna.best_value": "0.5",
    }


def test_a_parent_that_mlflow_has_not_got_keeps_its_tags_in_its_folder(tmp_path):
    parent = TrackedRun("key", "a sweep", "sqlite:///nowhere.db", "resetrl", 0.0, tags={"a": "b"})
    RunFile(tmp_path, parent).change(lambda run: run)
    tag_parent(tmp_path, {"optuna.study": "rate"}, console())
    assert read_run(tmp_path).tags == {"a": "b", "optuna.study": "rate"}


def test_a_store_that_does_not_answer_is_told_and_harms_nothing(tmp_path):
    parent = TrackedRun("key", "a sweep", "http://127.0.0.1:9", "resetrl", 0.0, run_id="0" * 32)
    RunFile(tmp_path, parent).change(lambda run: run)
    output = console()
    tag_parent(tmp_path, {"optuna.study": "rate"}, output)
    assert "MLflow did not take the study's tags (Connection refused)" in output.file.getvalue()


def test_a_search_without_a_parent_has_nothing_to_tag(tmp_path):
    tag_parent(tmp_path, {"optuna.study": "rate"}, console())
    assert list(tmp_path.iterdir()) == []
