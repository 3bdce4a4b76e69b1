"""Long runs: supervised workers, the resumable store of their results, files written whole, manifests, progress."""

from __future__ import annotations

from .executor import TaskError, WorkerFailure, default_workers, run
from .files import atomic_write, json_text, plain, write_bytes, write_json, write_text
from .manifest import write_manifest
from .progress_bar import progress
from .store import Store, StoreError, StoreFullError

__all__ = [
    "Store",
    "StoreError",
    "StoreFullError",
    "TaskError",
    "WorkerFailure",
    "atomic_write",
    "default_workers",
    "json_text",
    "plain",
    "progress",
    "run",
    "write_bytes",
    "write_json",
    "write_manifest",
    "write_text",
]
