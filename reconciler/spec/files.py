"""The files of one revision, each checked by itself, and what they extend."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from reconciler.errors import SourceRejected
from reconciler.model.names import BlobId, EnvironmentName
from reconciler.ports import TreeEntry
from reconciler.spec.chain import Chain, follow_all
from reconciler.spec.check import CheckedFile, check_file
from reconciler.spec.folder import Folder, sort_folder
from reconciler.spec.merge import Layer, inherit, own_layer
from reconciler.spec.resolve import Resolved, resolve

FileKey: TypeAlias = tuple[str, BlobId]
CheckedFiles: TypeAlias = Mapping[FileKey, CheckedFile]
ReadBlobs: TypeAlias = Callable[[Collection[BlobId]], Mapping[BlobId, bytes]]


class Files:
    """Everything that can be read of one revision, by stem."""

    def __init__(
        self,
        *,
        folder: str,
        entries: Sequence[TreeEntry],
        read_blobs: ReadBlobs,
        user_data_limit_bytes: int,
        known: CheckedFiles,
    ) -> None:
        """
        Args:
            folder: the watched folder as findings name it, "environments.d".
            entries: everything at and below it, paths relative to it.
            read_blobs: the content of each; called at most once, with what is not known yet.
            known: files that were checked before.

        Raises:
            SourceRejected: a blob could not be read.
        """
        self.folder: Folder = sort_folder(entries, folder)
        self._user_data_limit_bytes = user_data_limit_bytes
        self.checked: Mapping[str, CheckedFile] = self._check(read_blobs, known)
        self.chains: Mapping[str, Chain] = follow_all(self.checked, self.folder)
        self._layers: dict[tuple[str, ...], Layer] = {}

    def key(self, stem: str) -> FileKey:
        spec = self.folder.files[stem]
        return spec.file, spec.blob

    def keys(self, stems: Sequence[str]) -> tuple[FileKey, ...]:
        return tuple(self.key(stem) for stem in stems)

    def resolve(self, stem: str) -> Resolved:
        """What a file and all that it extends come to; its chain must be without findings, and the file readable."""
        stems = self.chains[stem].stems
        return resolve(
            EnvironmentName(stem),
            [self.checked[each] for each in stems],
            self._layer(stems),
            user_data_limit_bytes=self._user_data_limit_bytes,
        )

    def _layer(self, stems: tuple[str, ...]) -> Layer:
        own = own_layer(self.checked[stems[0]].document)
        if len(stems) == 1:
            return own
        above = stems[1:]  # shared by all that extend it
        if above not in self._layers:
            self._layers[above] = self._layer(above)
        return inherit(own, self._layers[above])

    def _check(self, read_blobs: ReadBlobs, known: CheckedFiles) -> dict[str, CheckedFile]:
        specs = self.folder.files
        unknown = {spec.blob for stem, spec in specs.items() if self.key(stem) not in known}
        contents = read_blobs(unknown) if unknown else {}
        if lacking := unknown - contents.keys():
            raise SourceRejected(f"{len(lacking)} blobs could not be read, {min(lacking)} among them")
        return {
            stem: known.get(self.key(stem))
            or check_file(contents[spec.blob], file=spec.file, user_data_limit_bytes=self._user_data_limit_bytes)
            for stem, spec in specs.items()
        }
