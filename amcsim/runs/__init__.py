"""Long runs: supervised workers, the resumable store of their results, files written whole, manifests, progress."""

from __future__ import annotations

from .cluster import check_scheduler, run_on_dask
from .executor import default_workers, run
from .files import atomic_write, json_text, plain, write_bytes, write_json, write_text
from .manifest import write_manifest
from .pool import TaskError, WorkerFailure
from .progress_bar import progress
from .store import Store, StoreError, StoreFullError
from .worker import ReplaceWorker

__all__ = [
    "ReplaceWorker",
    "Store",
    "StoreError",
    "StoreFullError",
    "TaskError",
    "WorkerFailure",
    "atomic_write",
    "check_scheduler",
    "default_workers",
    "json_text",
    "plain",
    "progress",
    "run",
    "run_on_dask",
    "write_bytes",
    "write_json",
    "write_manifest",
    "write_text",
]
