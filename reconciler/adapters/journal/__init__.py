"""The journal on SQLite: what must survive a crash, and the history that people read."""

from reconciler.adapters.journal.sqlite import SqliteJournal

__all__ = ["SqliteJournal"]
