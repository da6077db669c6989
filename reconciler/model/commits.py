"""Commits of the spec repository, as far as anybody here looks at them."""

from dataclasses import dataclass
from datetime import datetime

from reconciler.model.names import RevisionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    revision: RevisionId
    author: str  # "Name <email>"
    subject: str
    at: datetime  # committer date
