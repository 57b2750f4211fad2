"""The line's side of signed releases: python-tuf's client decides what is trusted, on files that came with a release.

What was seen before is kept in `folder`, so that an older release is refused after a restart too. The clock is this
device's: one that is wrong by days refuses what is in order, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

import msgspec
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from hotloop.errors import (
    HotloopError,
    InputError,
    NotFoundError,
    ServiceError,
    StoreError,
    UntrustedReleaseError,
)
from hotloop.store.signing import BACKBONE, MODEL, SignedRelease
from hotloop.types import UNREADABLE, Model

T = TypeVar("T")
Fetch = Callable[[str], bytes]

_HERE: Final = "release:"  # a base that no file has: each comes from the release itself, or by its name from the hub
_LIMITS: Final = UpdaterConfig(
    root_max_length=64_000, timestamp_max_length=8_000, snapshot_max_length=8_000, targets_max_length=32_000
)
_ATTACKS: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (UnsignedMetadataError, "unsigned", "it is not signed by the keys that this device trusts"),
    (ExpiredMetadataError, "expired", "it has expired, or this device's clock is wrong"),
    (BadVersionNumberError, "older", "its number is not due: older than one that is known here, or one is skipped"),
    (LengthOrHashMismatchError, "mixed", "its parts are not of one release"),
    (DownloadLengthMismatchError, "endless", "it is longer than it may be"),
    (DownloadError, "missing", "a part of it did not come"),
)


class ReleaseCheck:
    """Checks releases against the root that this device was given. One thread at a time."""

    def __init__(self, folder: Path, root: bytes, fetch: Fetch) -> None:
        """`root` is what the device was given when it enrolled; `fetch` gets a file of the repository by its name
        (NotFoundError).
        """
        self._folder, self._root, self._fetch = folder, root, fetch
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder} cannot be made: {error}") from error

    def model(self, release: SignedRelease) -> tuple[Model, Updater]:
        """The model of a release, once everything about it is in order; and what its backbone is checked with.

        UntrustedReleaseError says what is not; ServiceError if the hub could not be asked for a part of it.
        """
        updater = self._checked(lambda: self._refreshed(release))
        data = self._target(updater, MODEL)
        try:
            model = msgspec.msgpack.decode(data, type=Model)
        except UNREADABLE as error:
            raise UntrustedReleaseError(f"release {release.version} holds no model: {error}") from error
        if model.version != release.version:
            raise UntrustedReleaseError(
                f"the release says {release.version} and holds version {model.version}", attack="mixed"
            )
        return model, updater

    def backbone(self, updater: Updater, model: Model) -> bytes:
        """The bytes of a model's backbone, fetched and checked."""
        data = self._target(updater, BACKBONE)
        info = updater.get_targetinfo(BACKBONE)
        if info is None or info.hashes.get("sha256") != model.backbone:
            raise UntrustedReleaseError(f"version {model.version} has another backbone than is signed", attack="mixed")
        return data

    def _refreshed(self, release: SignedRelease) -> Updater:
        files = dict(release.metadata)
        given = _Given(files, release, self._fetch)
        where = str(self._folder)
        updater = Updater(where, _HERE, target_base_url=_HERE, fetcher=given, config=_LIMITS, bootstrap=self._root)
        updater.refresh()
        return updater

    def _target(self, updater: Updater, path: str) -> bytes:
        def get() -> bytes:
            info = updater.get_targetinfo(path)
            if info is None:
                raise UntrustedReleaseError(f"the release has no {path}", attack="missing")
            with TemporaryDirectory(dir=self._folder) as place:
                return Path(updater.download_target(info, f"{place}/target")).read_bytes()

        return self._checked(get)

    @staticmethod
    def _checked(call: Callable[[], T]) -> T:
        """`call()`; what TUF refuses as one of our own errors."""
        try:
            return call()
        except (RepositoryError, DownloadError) as error:
            if isinstance(error.__cause__, ServiceError):  # the hub is away: that says nothing of the release
                raise error.__cause__ from error
            for kind, attack, words in _ATTACKS:
                if isinstance(error, kind):
                    raise UntrustedReleaseError(f"the release was refused: {words} ({error})", attack=attack) from error
            raise UntrustedReleaseError(f"the release was refused: it is no metadata ({error})") from error
        except RecursionError as error:  # JSON within JSON within JSON
            raise UntrustedReleaseError("the release was refused: it is no metadata") from error
        except OSError as error:
            raise StoreError(f"the release could not be kept: {error}") from error


class _Given(FetcherInterface):
    """Files that came with a release; the rest is fetched."""

    def __init__(self, files: Mapping[str, bytes], release: SignedRelease, fetch: Fetch) -> None:
        self._files, self._release, self._fetch_one = files, release, fetch

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.rpartition("/")[2]
        if name in self._files:
            return iter((self._files[name],))
        if name.endswith(f".{MODEL}"):
            return iter((self._release.model,))
        number, _, role = name.partition(".")
        if role == "root.json" and int(number) > self._release.root:  # there is no newer one: nobody need be asked
            raise DownloadHTTPError(f"no {name}", 404)
        try:
            return iter((self._fetch_one(name),))
        except (NotFoundError, InputError) as error:
            raise DownloadHTTPError(str(error), 404) from error
        except HotloopError as error:
            raise DownloadError(str(error)) from error
