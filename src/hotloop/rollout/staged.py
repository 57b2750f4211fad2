"""What is logged of a rollout, and what follows from it at the next start. Pure.

A release on another backbone goes out in steps (`waves.py`); each is logged, so that a hub that starts in the middle of
one goes on with it. Pins are logged orders. Both are small, and are kept in the snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hotloop.types import Command, Staged


class Stage(msgspec.Struct, frozen=True):
    """How far the log says that the fleet is. `everywhere`: the backbone that every line may have ("": the first one);
    `last`: the newest step of a rollout; `pinned`: lines that stay with what they have.
    """

    everywhere: str = ""
    last: Staged | None = None
    pinned: frozenset[str] = frozenset()

    def went(self, step: Staged) -> Stage:
        """After a step of a rollout."""
        everywhere = step.backbone if step.action == "everywhere" else self.everywhere
        return msgspec.structs.replace(self, last=step, everywhere=everywhere)

    def after(self, body: object) -> Stage:
        """After an event of any kind."""
        if isinstance(body, Staged):
            return self.went(body)
        return self.told(body) if isinstance(body, Command) else self

    def told(self, command: Command) -> Stage:
        """After an order: others than "pin" and "unpin" change nothing here."""
        if command.order == "pin":
            return msgspec.structs.replace(self, pinned=self.pinned | {command.line})
        if command.order == "unpin":
            return msgspec.structs.replace(self, pinned=self.pinned - {command.line})
        return self


@dataclass(frozen=True)
class Standing:
    """Where a hub that starts stands: the last version on the backbone that every line may have (0: the present one),
    and the step that its rollout has come to.
    """

    settled: int
    step: Staged | None


def standing(stage: Stage, backbones: list[tuple[int, str]]) -> Standing:
    """Where the fleet stands. `backbones`: the versions that brought another backbone, and which, oldest first.

    A log that says nothing of rollouts is taken as one in which every line has what answers.
    """
    present, everywhere = backbones[-1][1], stage.everywhere or backbones[0][1]
    if stage.last is None or present == everywhere:
        return Standing(0, None)
    had = max((place for place, (_, backbone) in enumerate(backbones) if backbone == everywhere), default=-1)
    return Standing(backbones[had + 1][0] - 1, stage.last if stage.last.backbone == present else None)
