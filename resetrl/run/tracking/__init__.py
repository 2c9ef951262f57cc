"""Tracking: a journal in the run folder, and MLflow, which is sent everything from there.

    config     the option group `tracking`, what a URI means, what a launcher sets
    facts      metrics, parameters, tags and table of a run, pure
    journal    `metrics.jsonl`, the run's own account and the spool
    spool      `tracking.json`, what MLflow is to know of the run
    store      the only module that talks to MLflow
    sender     from folder to store: a thread during the run, `sync` afterwards
    observer   `Tracking`, the plugin the train loop registers

Training never waits for a store and never fails with one; nothing here imports MLflow until the
sender's thread does.
"""

from resetrl.run.tracking.config import ENVIRONMENT, TrackingConfig
from resetrl.run.tracking.facts import step_record_metrics
from resetrl.run.tracking.journal import Journal, JournalRecord, read_journal
from resetrl.run.tracking.observer import Tracking, TrackingStatus
from resetrl.run.tracking.sender import SyncReport, runs_below, sync, sync_sweep
from resetrl.run.tracking.store import StoreUnavailable, prepare_store

__all__ = [
    "ENVIRONMENT",
    "Journal",
    "JournalRecord",
    "StoreUnavailable",
    "SyncReport",
    "Tracking",
    "TrackingConfig",
    "TrackingStatus",
    "prepare_store",
    "read_journal",
    "runs_below",
    "step_record_metrics",
    "sync",
    "sync_sweep",
]
