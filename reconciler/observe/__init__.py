"""Observing: read the world (`reading`), then join it by instance id (`join`). A partial read raises; it is never less."""

from reconciler.observe.join import Joined, join
from reconciler.observe.reading import Reading, read

__all__ = ["Joined", "Reading", "join", "read"]
