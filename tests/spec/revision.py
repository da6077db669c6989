"""A revision in memory: files by path, read as the source stage would hand them over."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from reconciler.model.desired import Desired
from reconciler.model.names import BlobId, RevisionId
from reconciler.ports import TreeEntry
from reconciler.spec import SpecReader

FOLDER = "environments.d"
USER_DATA_LIMIT_BYTES = 8000

PRODUCTION = """\
project: kickstarter
owner: ops@example.com
branch: main
protected: true
defaults:
  image: ami-0123456789abcdef0
  instance_type: [m7i.large, m6i.large]
  subnets: [subnet-a, subnet-b]
  security_groups: [sg-app]
roles:
  web:
    count: 4
    run_list: ["recipe[kickstarter::web]"]
    attributes: {unicorn: {workers: 8, timeout: 30}}
  worker:
    count: 2
    run_list: ["recipe[kickstarter::worker]"]
"""
CHECKOUT = """\
extends: production
owner: jessica@example.com
branch: checkout-redesign
roles:
  web: {count: 1}
  worker: {count: 1}
"""


def reader() -> SpecReader:
    return SpecReader(user_data_limit_bytes=USER_DATA_LIMIT_BYTES)


def blob_id(content: bytes) -> BlobId:
    return BlobId(hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())


@dataclass
class Revision:
    """Files of one revision. `reads` keeps which blobs were asked for."""

    files: Mapping[str, str | bytes]
    modes: Mapping[str, str] = field(default_factory=dict)
    reads: list[BlobId] = field(default_factory=list)

    def read_with(self, spec: SpecReader) -> Desired:
        entries, read_blobs = self.listed()
        return spec.read(revision=RevisionId("1" * 40), folder=FOLDER, entries=entries, read_blobs=read_blobs)

    def listed(self) -> tuple[tuple[TreeEntry, ...], Callable[[Collection[BlobId]], Mapping[BlobId, bytes]]]:
        """Its entries, and what reads their blobs."""
        contents = {path: text.encode() if isinstance(text, str) else text for path, text in sorted(self.files.items())}
        blobs = {blob_id(content): content for content in contents.values()}

        def read_blobs(wanted: Collection[BlobId]) -> Mapping[BlobId, bytes]:
            self.reads.extend(wanted)
            return {blob: blobs[blob] for blob in wanted}

        entries = []
        for path, content in contents.items():
            mode = self.modes.get(path, "100644")
            size = None if mode == "160000" else len(content)
            entries.append(TreeEntry(path=path, blob=blob_id(content), mode=mode, size=size))
        return tuple(entries), read_blobs


def read(files: Mapping[str, str | bytes], modes: Mapping[str, str] | None = None) -> Desired:
    return Revision(files, modes or {}).read_with(reader())


def told(desired: Desired) -> list[str]:
    """The findings as people read them."""
    return [str(finding) for finding in desired.findings]
