"""A hub whose releases are believed only when they are in order: the agent's port `Hub` over a client and a check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tuf.ngclient import Updater

from hotloop.adapters.hub_client import HubClient
from hotloop.adapters.release_check import ReleaseCheck
from hotloop.errors import NotFoundError, UntrustedReleaseError
from hotloop.store.signing import SignedRelease
from hotloop.types import Event, LineReport, Live, Model

Refused = Callable[[int, str], None]


class SignedHub:
    """What the agent needs of its hub. `refused` is told of each release that is not in order: version and reason."""

    def __init__(self, client: HubClient, check: ReleaseCheck) -> None:
        self._client, self._check = client, check
        self._proof: tuple[Model, Updater] | None = None  # of the release that came last
        self.refused: Refused = _untold

    def send(self, events: Sequence[Event]) -> list[int]:
        """Deliver events."""
        return self._client.send(events)

    def put_blobs(self, blobs: Sequence[bytes]) -> list[str]:
        """Deliver bytes."""
        return self._client.put_blobs(blobs)

    def acknowledge(self, lives: Sequence[Live]) -> None:
        """Say which version answers now."""
        self._client.acknowledge(lives)

    def report(self, said: LineReport) -> None:
        """Say how the line is."""
        self._client.report(said)

    def follow(self, line: str, after: int) -> Iterator[Model]:
        """Each newer model whose release is in order; the others are told and passed over."""
        for release in self._client.follow_signed(line, after):
            model = self._believed(release)
            if model is not None:
                yield model

    def _believed(self, release: SignedRelease) -> Model | None:
        """The model of a release that is in order; else None, and it is told."""
        try:
            self._proof = self._check.model(release)
        except UntrustedReleaseError as error:
            self.refused(release.version, str(error))
            return None
        return self._proof[0]

    def get_blob(self, digest: str) -> bytes:
        """A backbone's bytes, checked against the release that came last."""
        if self._proof is None or self._proof[0].backbone != digest:
            raise NotFoundError(f"no release with backbone {digest[:12]} is at hand")
        model, updater = self._proof
        return self._check.backbone(updater, model)


def _untold(_version: int, _reason: str) -> None:
    """Nobody asked to be told."""
