"""Everything that hotloop raises, one tree.

    HotloopError
    ├── ConfigError                 loop.toml says something that cannot be
    ├── InputError                  what came in is wrong; the sender can mend it
    │   ├── ImageError
    │   │   ├── UnreadableImageError
    │   │   ├── ImageTooLargeError
    │   │   └── TemplateError       a reference template is missing or does not fit
    │   ├── LabelError              a label file, named with its line
    │   │   └── LayoutError         a folder whose layout is none of the known ones
    │   ├── RobotMessageError       what a robot says is no VDA 5050, or not its own to say; counted
    │   ├── RequestError            a request that is not of its route's form
    │   └── KeyConflictError        one idempotency key, two different events
    ├── NotFoundError               no such loop, line, model, image
    ├── AccessError                 no credential, or one without the permission
    ├── StoreError                  the disk or what lies on it
    │   ├── DiskFullError           nothing acknowledged is lost; make room, it goes on
    │   ├── StoreBusyError          another process owns this store, or its queue is full
    │   ├── CorruptError            bytes are not what was written; names the place
    │   └── NewerFormatError        written by a newer hotloop
    ├── ModelError                  a model file, or a head that does not fit
    │   ├── UntrustedReleaseError   its signatures, versions, times or digests are not in order; says which
    │   └── UnhealthyReleaseError   it was tried on this device and did not do well; says how
    ├── UpdateRefusedError          the gate, with its reason
    └── ServiceError                the hub as a process
        ├── PortInUseError
        ├── OverloadError           come back after `retry_after_s`
        └── HubUnreachableError

An error's text says what happened, where, and what to do about it.
"""

from __future__ import annotations


class HotloopError(Exception):
    """The root: catch this to catch all that hotloop raises on purpose."""


class ConfigError(HotloopError):
    """A setting is missing, unknown, of the wrong type or out of its limits."""


class InputError(HotloopError):
    """What came in is wrong; it was refused whole and nothing else was lost."""


class ImageError(InputError):
    """An image cannot be used."""


class UnreadableImageError(ImageError):
    """The bytes are no image of an accepted format, or are cut short."""


class ImageTooLargeError(ImageError):
    """The image is over the limit in bytes or pixels; it was not decoded."""


class TemplateError(ImageError):
    """The reference template is missing, unknown, or of another size than the image."""


class LabelError(InputError):
    """A label file has a line that cannot be understood."""


class LayoutError(LabelError):
    """A folder is in none of the layouts that labels can be read from."""


class RobotMessageError(InputError):
    """What came on a robot's topics cannot be taken. It was counted by `why`, and all else goes on."""

    def __init__(self, words: str, why: str = "malformed") -> None:
        super().__init__(words)
        self.why = why


class RequestError(InputError):
    """A request is not of the form its route takes."""

    def __init__(self, message: str, *, status: int = 422) -> None:
        super().__init__(message)
        self.status = status  # the HTTP status that says it: 400, 405, 408, 413, 415, 421 or 422


class KeyConflictError(InputError):
    """A device used one sequence number for two different events."""


class NotFoundError(HotloopError):
    """What was asked for is not here."""


class AccessError(HotloopError):
    """There is no credential, or it does not carry the permission."""

    def __init__(self, message: str, *, known: bool = False) -> None:
        super().__init__(message)
        self.known = known  # True: we know who asks (403); False: we do not (401)


class StoreError(HotloopError):
    """The disk failed, or a store could not be used."""


class DiskFullError(StoreError):
    """The disk is full: what was acknowledged is safe, what was not must be sent again."""


class StoreBusyError(StoreError):
    """Another process owns this store, or its bounded queue is full."""


class CorruptError(StoreError):
    """Stored bytes are not what was written; the message names where."""

    def __init__(self, message: str, *, offsets: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.offsets = offsets


class NewerFormatError(StoreError):
    """The store was written by a newer hotloop; this one would damage it."""


class ModelError(HotloopError):
    """A model cannot be loaded, or does not fit the loop it is for."""


class UntrustedReleaseError(ModelError):
    """A release is not what the hub's keys vouch for; the line stays with what it has."""

    def __init__(self, message: str, *, attack: str = "damaged") -> None:
        super().__init__(message)
        # "unsigned", "expired", "older" (than one that was seen), "mixed" (of several releases), "endless" (longer than
        # it may be), "damaged" (no metadata at all) or "missing" (a part did not come)
        self.attack = attack


class UnhealthyReleaseError(ModelError):
    """A release was tried on this device's own payloads and did not do well; the line stays with what it has."""


class UpdateRefusedError(HotloopError):
    """The gate refused an update; the reason is the message."""


class ServiceError(HotloopError):
    """The hub could not start, be reached, or keep up."""


class PortInUseError(ServiceError):
    """Another process listens on the hub's port."""


class OverloadError(ServiceError):
    """Too much came at once: nothing was taken; come back after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HubUnreachableError(ServiceError):
    """The hub does not answer at its address."""
