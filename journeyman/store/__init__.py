"""What a run leaves behind: the run store (SQLite) and checkpoints (safetensors)."""

from journeyman.store.checkpoint import Checkpoint, CheckpointError, latest, load_checkpoint, mark_checkpoint, save_checkpoint
from journeyman.store.codec import StoreError
from journeyman.store.session import Session
from journeyman.store.store import Listed, Step, Store, Stored

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Listed",
    "Session",
    "Step",
    "Store",
    "StoreError",
    "Stored",
    "latest",
    "load_checkpoint",
    "mark_checkpoint",
    "save_checkpoint",
]
