import sqlite3

import optuna
import pytest
from searching import space_of

from resetrl.errors import ConfigError
from resetrl.sweep.optuna_settings import SearchSettings
from resetrl.sweep.optuna_study import (
    check_sampler,
    finished,
    make_sampler,
    open_storage,
    open_study,
    requeue_killed,
    resolve_storage,
    sole_search,
)

SPACE = space_of("x=interval(-1,1)", "steps=40", "seed=0,1")


def storages(folder):
    return [f"sqlite:///{folder}/search.db", str(folder / "search.log")]


@pytest.fixture(params=[0, 1], ids=["sqlite", "journal"])
def storage(request, tmp_path):
    return storages(tmp_path)[request.param]


def opened(storage, space=SPACE, **settings):
    return open_study("mine", open_storage(storage), SearchSettings(**settings), space)


def test_a_study_is_continued_where_it_was_left(storage):
    study = opened(storage)
    study.tell(study.ask(dict(SPACE.dimensions)), 0.5)
    assert [trial.value for trial in opened(storage, n_jobs=2).trials] == [0.5]


@pytest.mark.parametrize(
    ("overrides", "settings", "sentence"),
    [
        (["x=interval(-1,2)", "steps=40", "seed=0,1"], {}, "dimensions (x: -1 to 1 there, -1 to 2"),
        (["x=range(5)", "steps=40", "seed=0,1"], {}, "x: -1 to 1 there, 0 to 4 step 1 here"),
        (["y=a,b", "steps=40", "seed=0,1"], {}, "y: none there, choices a, b here"),
        (["x=interval(-1,1)", "steps=40", "seed=0,2"], {}, "seeds (0, 1 there, 0, 2 here)"),
        (["x=interval(-1,1)", "steps=80", "seed=0,1"], {}, "(steps=40 there, steps=80 here)"),
        (["x=interval(-1,1)", "steps=40", "seed=0,1"], {"metrics": ["a"]}, "other metrics"),
        (["x=interval(-1,1)", "steps=40", "seed=0,1"], {"directions": ["minimize"]}, "directions"),
        (["x=interval(-1,1)", "steps=40", "seed=0,1"], {"objective": "lower_bound"}, "lower_bound"),
    ],
)
def test_another_search_does_not_touch_the_study(tmp_path, overrides, settings, sentence):
    storage = storages(tmp_path)[1]
    opened(storage)
    before = (tmp_path / "search.log").read_bytes()
    with pytest.raises(ConfigError) as refused:
        opened(storage, space_of(*overrides), **settings)
    assert "study mine has other" in str(refused.value) and sentence in str(refused.value)
    assert (tmp_path / "search.log").read_bytes() == before


def test_where_runs_are_tracked_may_change_within_a_study(tmp_path):
    storage = storages(tmp_path)[1]
    opened(storage)
    opened(storage, space_of("x=interval(-1,1)", "steps=40", "seed=0,1", "tracking.enabled=false"))


def test_a_study_of_someone_else_is_refused(storage):
    theirs = optuna.create_study(study_name="mine", storage=open_storage(storage))
    theirs.tell(theirs.ask(), 1.0)
    with pytest.raises(ConfigError, match="study mine was not made by resetrl"):
        opened(storage)


def test_a_database_of_another_program_is_refused_as_it_is(tmp_path):
    file = tmp_path / "other.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=r"holds the tables of another program \(runs"):
        open_storage(f"sqlite:///{file}")
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "storage"),
    [
        (b"no database\n", "sqlite:///{file}"),
        (b"no journal\n", "{file}"),
        (b'{"step": 0}\n', "{file}"),
        (b'{"op_code": 0, "torn', "{file}"),
    ],
)
def test_a_damaged_storage_is_named_and_left_alone(tmp_path, content, storage):
    file = tmp_path / "damaged"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"hydra.sweeper.storage .*damaged cannot be used"):
        open_storage(storage.format(file=file), is_sole=True)
    assert file.read_bytes() == content


@pytest.mark.parametrize("storage", ["nosuch://host/db", "{folder}"])
def test_a_storage_that_cannot_be_reached_is_named(tmp_path, storage):
    with pytest.raises(ConfigError, match="cannot be used"):
        open_storage(storage.format(folder=tmp_path))


def test_a_password_is_not_shown():
    with pytest.raises(ConfigError) as refused:
        open_storage("nosuch://ada:secret@host/db")
    assert "secret" not in str(refused.value)


def test_relative_storages_are_made_absolute(tmp_path):
    assert resolve_storage("sqlite:///a/b.db", tmp_path) == f"sqlite:///{tmp_path}/a/b.db"
    assert resolve_storage("b.log", tmp_path) == f"{tmp_path}/b.log"
    assert resolve_storage("mysql://host/db", tmp_path) == "mysql://host/db"


def test_two_searches_do_not_share_a_file(storage):
    with (
        sole_search(storage),
        pytest.raises(ConfigError, match="another search is using"),
        sole_search(storage),
    ):
        pass
    with sole_search(storage):
        pass


def test_what_a_kill_left_running_is_failed_and_queued_again_once(storage):
    study = opened(storage)
    values = study.ask(dict(SPACE.dimensions)).params
    assert requeue_killed(opened(storage)) == [0]
    study = opened(storage)
    assert requeue_killed(study) == []
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]
    assert study.ask(dict(SPACE.dimensions)).params == values
    assert finished(study) == []


@pytest.mark.parametrize("name", ["tpe", "random", "cmaes", "qmc"])
def test_a_continued_search_suggests_what_the_uninterrupted_one_does(tmp_path, name):
    space = space_of("x=interval(-1,1)", "y=interval(0,2)")
    settings = SearchSettings(sampler=name, sampler_seed=3)

    def suggestions(storage, processes):
        found = []
        for num in processes:
            study = open_study("mine", open_storage(storage), settings, space)
            for _ in range(num):
                study.sampler = make_sampler(settings, len(study.trials))
                trial = study.ask(dict(space.dimensions))
                study.tell(trial, -(trial.params["x"] ** 2) - trial.params["y"])
                found.append(trial.params)
        return found

    whole, parts = storages(tmp_path)[1], str(tmp_path / "parts.log")
    assert suggestions(whole, [14]) == suggestions(parts, [5, 9])


@pytest.mark.parametrize(
    ("overrides", "settings", "sentence"),
    [
        (["a=x,y", "b=interval(0,1)"], {"sampler": "cmaes"}, "a is a choice"),
        (["b=interval(0,1)"], {"sampler": "cmaes"}, "needs two dimensions at least"),
        (["b=interval(0,1)"], {"sampler": "grid"}, "cannot list the values of b"),
        (["b=1,2"], {"sampler_options": {"depth": 3}}, "sampler tpe has no option 'depth'"),
        (["b=1,2"], {"sampler_options": {"seed": 3}}, "sampler tpe has no option 'seed'"),
        (["b=1,2"], {"sampler_options": {"n_startup_trials": "x"}}, "hydra.sweeper.sampler tpe"),
        (["b=1,2"], {"pruner": "median", "pruner_options": {"x": 1}}, "median has no option 'x'"),
        (
            ["b=1,2"],
            {"pruner": "hyperband", "pruner_options": {"max_resource": "some"}},
            "pruner_options of hyperband",
        ),
    ],
)
def test_a_sampler_or_pruner_that_does_not_fit_is_refused(overrides, settings, sentence):
    with pytest.raises(ConfigError) as refused:
        check_sampler(SearchSettings(**settings), space_of(*overrides))
    assert sentence in str(refused.value)
