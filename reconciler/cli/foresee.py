"""What `plan --at` and `plan --diff` need: revisions out of a repository, and a world to plan them against."""

import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from reconciler.cli import own, screen
from reconciler.cli.ask import answer, invocation
from reconciler.cli.options import FOLDER
from reconciler.cli.validate import readable_settings, user_data_limit
from reconciler.daemon.requests import AskWorld
from reconciler.errors import HivequeenError, SourceRejected, Stalled

if TYPE_CHECKING:
    from reconciler.adapters.git_borrowed import BorrowedRepository
    from reconciler.model.cost import Cost
    from reconciler.model.desired import Desired, Environment
    from reconciler.model.memory import Memory
    from reconciler.model.names import BlobId, RevisionId
    from reconciler.model.policy import Policy
    from reconciler.model.rules import Rules
    from reconciler.review import Side, Snapshot
    from reconciler.settings import Settings
    from reconciler.spec import SpecReader

_OWN_HEAD: Final = re.compile(r"(?:HEAD)?(?:$|[~^@:])")  # HEAD~1, and @ for short
_WHOLE: Final = "fetch the whole history (git fetch --unshallow; in a build, fetch-depth: 0)"


# --- the world ------------------------------------------------------------------------------------------------------


def _world(
    context: typer.Context, settings: "Settings | None", *, offline: bool, file: Path | None
) -> "Snapshot | None":
    """As the daemon sees it, or this command does without one; offline, as it was last seen. None: nobody knows.

    Raises:
        Stalled: what there is cannot be read.
    """
    from reconciler.review.codec import decode, parse  # noqa: PLC0415 - only where a world is read

    if file is not None:
        return parse(_content(file), file=str(file))
    if not offline and settings is None:
        raise Stalled(
            f"nobody can be asked how the world is: {invocation(context).config} cannot be read",
            remedy="name the daemon's settings with --config, or say --offline",
        )
    if not offline:
        document: Any = answer(context, AskWorld(), own_desk=own.looking)
        return decode(document, file="the daemon's answer")
    return None if settings is None else last_known(settings)


def last_known(settings: "Settings") -> "Snapshot | None":
    """As the daemon left it beside its state; None: it left none.

    Raises:
        Stalled: it cannot be read.
    """
    from reconciler.adapters.journal.file import path_of  # noqa: PLC0415 - as above
    from reconciler.daemon.snapshots import file_beside  # noqa: PLC0415 - as above
    from reconciler.review.codec import parse  # noqa: PLC0415 - as above

    kept = file_beside(path_of(settings.state))
    try:
        return parse(kept.read_bytes(), file=str(kept))
    except FileNotFoundError:
        return None
    except OSError as trouble:
        raise Stalled(
            f"the last known world in {kept} cannot be read: {trouble.strerror}",
            remedy="read it as the daemon's user (sudo -u hivequeen …), or name a copy with --snapshot",
        ) from trouble


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as trouble:
        raise Stalled(f"{file} cannot be read: {trouble.strerror}", remedy="correct --snapshot") from trouble


# --- revisions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What revisions are read and planned by: the daemon's where they are known."""

    settings: "Settings | None"
    snapshot: "Snapshot | None"
    named_region: str | None = None  # by the person who asks

    @property
    def folder(self) -> str:
        if self.snapshot is not None:
            return self.snapshot.folder
        return self.settings.repository.path if self.settings is not None else FOLDER

    @property
    def region(self) -> str:
        if self.named_region is not None:
            return self.named_region
        if self.snapshot is not None:
            return self.snapshot.region
        return self.settings.aws.region if self.settings is not None else ""

    @property
    def policy(self) -> "Policy":
        from reconciler.model.policy import Policy  # noqa: PLC0415 - as above

        if self.snapshot is not None:
            return self.snapshot.policy
        return self.settings.policy if self.settings is not None else Policy()

    @property
    def rules(self) -> "Rules":
        from reconciler.model.names import FleetId  # noqa: PLC0415 - as above
        from reconciler.model.rules import Rules  # noqa: PLC0415 - as above

        if self.snapshot is not None:
            return self.snapshot.rules
        return self.settings.rules if self.settings is not None else Rules(fleet=FleetId("assumed"))

    def price(self) -> "Callable[[Environment], Cost]":
        """
        Raises:
            Stalled: the price table cannot be read.
        """
        from reconciler import prices  # noqa: PLC0415 - as above
        from reconciler.model.cost import Cost  # noqa: PLC0415 - as above

        region = self.region
        if not region:
            return lambda _: Cost(unknown=("a region that is not known (say --region)",))
        return prices.reckoner(self.settings.prices if self.settings is not None else None, region)

    def assumed(self, base: "Desired") -> "Snapshot":
        from reconciler.review import assume  # noqa: PLC0415 - as above

        return assume(
            base,
            rules=self.rules,
            policy=self.policy,
            folder=self.folder,
            region=self.region,
            at=datetime.now(UTC),
        )


class Revisions:
    """Reads revisions of one repository, as the daemon would."""

    def __init__(self, borrowed: "BorrowedRepository", terms: Terms, *, is_mirror: bool = False) -> None:
        self._borrowed = borrowed
        self._terms = terms
        self._is_mirror = is_mirror
        self._reader = _reader(terms)
        self._sides = Sides(borrowed, terms, folder=terms.folder)

    def named(self, name: str) -> "RevisionId":
        """
        Raises:
            Stalled: it is not here; or it is the person's own HEAD, and this is not their clone.
        """
        if self._is_mirror and _OWN_HEAD.match(name):
            raise Stalled(
                f"{name} means what is checked out in a clone, and this is none of the daemon's repository",
                remedy="run it in a clone of that repository, or name a branch or a revision that the daemon has read",
            )
        return self._borrowed.revision(name)

    def pair(self, text: str) -> "tuple[RevisionId, RevisionId]":
        """`BASE..HEAD`; of `BASE...HEAD` the base is where the two parted, as in a pull request. A missing side is HEAD.

        Raises:
            Stalled: it is no pair, or one of them is not here.
        """
        base, dots, head = text.partition("...") if "..." in text else text.partition("..")
        if not dots:
            raise Stalled(f"--diff {text} names one revision", remedy="write two, such as origin/main...HEAD")
        before, after = self.named(base or "HEAD"), self.named(head or "HEAD")
        if dots == "...":
            return self._borrowed.merge_base(before, after), after
        if not self._borrowed.repository.descends(after, before):
            screen.note(
                f"{head or 'HEAD'} lacks what {base or 'HEAD'} has since they parted, and that counts as undone; "
                "three dots (BASE...HEAD) leave it out"
            )
        return before, after

    def descends(self, revision: "RevisionId", ancestor: "RevisionId") -> bool:
        return self._borrowed.repository.descends(revision, ancestor)

    def desired(self, revision: "RevisionId") -> "Desired":
        from reconciler.document import SIZE_LIMIT_BYTES  # noqa: PLC0415 - as above

        repository = self._borrowed.repository

        def read_blobs(blobs: "Collection[BlobId]") -> "Mapping[BlobId, bytes]":
            return repository.read(blobs, limit_bytes=SIZE_LIMIT_BYTES)

        try:
            entries = repository.tree(revision)
            return self._reader.read(
                revision=revision, folder=self._terms.folder, entries=entries, read_blobs=read_blobs
            )
        except SourceRejected as trouble:
            raise Stalled(f"{revision[:8]} cannot be read in {self._borrowed.top}", remedy=_WHOLE) from trouble

    def side(self, desired: "Desired", memory: "Memory") -> "Side":
        return self._sides.of(desired, memory)


class Sides:
    """Revisions with what the history says of them."""

    def __init__(self, borrowed: "BorrowedRepository", terms: Terms, *, folder: str) -> None:
        from reconciler.source.history import History  # noqa: PLC0415 - as above

        self._is_shallow = borrowed.is_shallow
        has_default_ttl = terms.rules.default_ttl is not None
        self._history = History(borrowed.repository, folder=folder, has_default_ttl=has_default_ttl)
        self._is_noted = False

    def of(self, desired: "Desired", memory: "Memory") -> "Side":
        """Where the history cannot be read, nobody is named and no lifetime is known; that is noted once."""
        from reconciler.review import Side  # noqa: PLC0415 - as above

        told, trouble = self._history.tell(desired, memory)
        if trouble is not None and not self._is_noted:
            why = "the checkout is shallow" if self._is_shallow else trouble.message
            screen.note(f"who changed what, and when, is not known: {why}; {_WHOLE}")
            self._is_noted = True
        return Side(desired=desired, commit=told.commit, touched=told.touched)


@contextmanager
def revisions(terms: Terms) -> Iterator[Revisions]:
    """Of the repository in the current directory if that is a clone of the daemon's, else of the daemon's mirror.

    Raises:
        Stalled: neither can be read.
    """
    from reconciler.adapters.git_borrowed import BorrowedRepository  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory(prefix="hivequeen-") as scratch:
        borrowed = None
        try:
            borrowed = BorrowedRepository(Path(), Path(scratch) / "clone.git", folder=terms.folder)
        except HivequeenError:
            if terms.settings is None:
                raise
        is_mirror = borrowed is None or not is_of(borrowed, terms)
        if borrowed is None or is_mirror:
            borrowed = _mirror(terms, Path(scratch))
        try:
            yield Revisions(borrowed, terms, is_mirror=is_mirror)
        finally:
            borrowed.close()


def is_of(borrowed: "BorrowedRepository", terms: Terms) -> bool:
    """Whether it is a clone of the repository that the daemon follows, or that repository itself."""
    from reconciler.adapters.git_borrowed import is_same_address  # noqa: PLC0415 - as above

    if terms.settings is None:
        return True
    followed = terms.settings.repository.url
    if any(is_same_address(one, followed) for one in (*borrowed.addresses(), str(borrowed.top))):
        return True
    applied = terms.snapshot.memory.applied if terms.snapshot is not None else None
    return applied is not None and borrowed.repository.descends(applied, applied)


def _mirror(terms: Terms, scratch: Path) -> "BorrowedRepository":
    from reconciler.adapters.git_borrowed import BorrowedRepository  # noqa: PLC0415 - as above
    from reconciler.adapters.git_config import masked  # noqa: PLC0415 - as above
    from reconciler.adapters.journal.file import path_of  # noqa: PLC0415 - as above

    assert terms.settings is not None  # noqa: S101 - else any clone would have done
    mirror = path_of(terms.settings.state).with_name("mirror.git")
    if not os.access(mirror / "objects", os.R_OK):
        raise Stalled(
            f"this is no clone of {masked(terms.settings.repository.url)}, and the daemon's mirror is not yours to read",
            remedy="run it in a clone of that repository",
        )
    screen.note(f"this is no clone of {masked(terms.settings.repository.url)}: the daemon's mirror is read")
    branch = terms.settings.repository.branch
    aliases = dict.fromkeys((branch, f"origin/{branch}"), "refs/hivequeen/tip")
    return BorrowedRepository(mirror, scratch / "mirror.git", folder=terms.folder, aliases=aliases)


def _reader(terms: Terms) -> "SpecReader":
    from reconciler.spec import SpecReader, bounds_cost  # noqa: PLC0415 - as above

    return SpecReader(
        user_data_limit_bytes=user_data_limit(terms.settings),
        policy=terms.policy,
        monthly_cost=terms.price() if terms.region and bounds_cost(terms.policy) else None,
    )


def terms(context: typer.Context, *, offline: bool, file: Path | None, region: str | None) -> Terms:
    settings = readable_settings(invocation(context).config)
    return Terms(
        settings=settings,
        snapshot=_world(context, settings, offline=offline, file=file),
        named_region=region,
    )
