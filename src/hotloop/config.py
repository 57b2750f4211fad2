"""Every setting and limit, with its unit in its name and its default here. `loop.toml` overrides them.

Lines of `loop.toml` are checked against these records: an unknown or ill-typed key is refused with its place.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from hotloop.errors import ConfigError

Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0)]
Topic = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}(/[A-Za-z0-9._-]{1,64}){0,7}\Z")]  # no wildcards, no "$"

_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of `loop.toml`."""


Own = TypeVar("Own", bound=Section)


class ImageLimits(Section, frozen=True):
    """What an image may be before it is decoded."""

    bytes_max: Positive = 16 * 2**20
    pixels_max: Positive = 20_000_000  # 5,472 x 3,648, the largest common camera; decoded in < 256 MB
    side_px_max: Positive = 20_000


class LearnConfig(Section, frozen=True):
    """`[learn]`: the reflex."""

    ridge: Annotated[float, Meta(gt=0)] = 1.0  # λ: how much evidence it takes to leave the start model
    batch_examples_max: Positive = 256  # examples that one update takes at most
    seed: int = 0
    half_life_s: Seconds = 0.0  # after which what was learned counts half, by the time of what it is about; 0: never
    site_heads: bool = True  # with several sites, one that is proven to be served better by a head of its own gets it
    federated: tuple[str, ...] = ()  # exports of other sites (`hotloop federate`), added to what is learned here
    federated_weight: Share = 1.0  # of what the other sites have learned


class GateConfig(Section, frozen=True):
    """`[gate]`: when an update is refused."""

    window_examples: Positive = 200  # the recent past that an update must not make worse
    least_examples: Positive = 20  # below this the gate has no view and promotes
    tolerance: Share = 0.02  # mean loss (0 to 1) by which the recent past may get worse
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.05  # chance of refusing an update that is not worse than that
    slice_tolerance: Share = 0.05  # the same for a part: a class, a line, a site
    slice_least_examples: Positive = 10  # a part with fewer examples is not judged on its own
    critical: tuple[str, ...] = ()  # parts that may not get worse at all: "label:short", "line:line-1", "site:site-2"
    golden_tolerance: Share = 0.02  # mean loss by which the golden set may be worse than with the first model
    site_tolerance: Share = 0.05  # mean loss by which a site may be worse with a head that never saw it


class TrustConfig(Section, frozen=True):
    """`[trust]`: how much a reviewer's word counts."""

    golden: Name = (
        "golden"  # the reviewer whose word is the sealed truth: never learned, it judges models and reviewers
    )
    quota_share: Annotated[float, Meta(gt=0, le=1)] = 0.2  # of the newest words learned: at most from one reviewer
    quota_least: Positive = 8  # reviewers at work from which the quota holds: a lone reviewer has none
    margin: Share = 0.15  # agreement (0 to 1) by which a reviewer may lie below the others
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.01  # chance of distrusting a reviewer who does not
    second_opinion: bool = True  # with three reviewers or more, what a sure model contradicts waits for another word
    sure: Share = 0.4  # the model is sure where its best score is so far above the next, and above its threshold


class RefreshConfig(Section, frozen=True):
    """`[refresh]`: when the backbone is trained again, and on what."""

    automatic: bool = False  # by itself; else by `hotloop refresh` alone. Needs the extra hotloop[train]
    examples_min: Positive = 200  # new verified pieces that call for one
    stalled_examples: Positive = 400  # newest verified pieces without improvement that call for one
    drift_alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.001  # chance of a false alarm of the drift test
    pause_s: Seconds = 600.0  # least time between two refreshes
    examples_max: Positive = 5000  # that one refresh rehearses: the newest, and a balanced memory of the others
    holdout_share: Annotated[float, Meta(gt=0, lt=1)] = 0.2  # of the verified pieces that no backbone is trained on
    minutes_max: Annotated[float, Meta(gt=0)] = 10.0  # of training in one refresh
    consolidate_hours: Seconds = 0.0  # so often the whole log is learned anew in the background; 0: by command alone
    threads: Positive = 1  # of the child process, so that the hub keeps its cores


class ReviewConfig(Section, frozen=True):
    """`[review]`: where a human should look."""

    audit_share: Share = 0.0  # of the pieces that nobody flagged, drawn for a human to look at
    error_max: Annotated[float, Meta(gt=0, lt=1)] = 0.01  # of pieces that pass without a human and are wrong
    queue_max: Positive = 1000  # pieces kept in the review order


class RolloutConfig(Section, frozen=True):
    """`[rollout]`: how releases go out."""

    interval_s: Seconds = 0.01  # least time between two reflex releases
    retained_models: Positive = 256  # reflex heads kept whole; older ones are rebuilt from the log
    checkpoint_examples: Positive = 200  # least verified pieces between two states that one can go back to
    canary_share: Annotated[float, Meta(gt=0, le=1)] = 0.1  # of the lines that try another backbone first
    wave_factor: Annotated[float, Meta(gt=1)] = 5.0  # times as many lines in each following wave, whole sites
    wave_s: Seconds = 10.0  # that a wave must have answered with it before the next
    away_s: Annotated[float, Meta(gt=0)] = 60.0  # a line that is silent for longer is not waited for
    declined_max: Share = 0.02  # of a wave's lines that may decline another backbone before it is taken back
    timestamp_days: Annotated[float, Meta(gt=0)] = 7.0  # a line that hears nothing newer installs nothing after that
    signed_days: Annotated[float, Meta(gt=0)] = 365.0  # for which a release's own metadata holds
    watch_tolerance: Share = 0.0  # mean loss by which a release may be worse than the model before it
    watch_alpha: Annotated[float, Meta(gt=0, lt=1)] = (
        0.05  # chance that a release that is not worse is ever rolled back
    )


class SenseConfig(Section, frozen=True):
    """`[sense]`: where payloads come from besides HTTP."""

    folder: str = ""  # watched for images; "" is none
    reference_suffix: str = "_temp"  # X_test.png is compared with X_temp.png; "" has no templates
    image_suffix: str = "_test"  # stripped from a name before the reference's suffix is put
    reference: str = ""  # one template for every image; "" looks for one beside the image
    poll_s: Annotated[float, Meta(ge=0.01)] = 0.2
    line: Name = "line-1"
    camera: str = ""  # a number, a URL, a video file or "gst:PIPELINE"; "" is none. Needs the extra hotloop[camera]
    camera_s: Seconds = 0.5  # least time between two pieces
    camera_change: Share = 0.0  # of the pixels that must differ from the last piece; 0: each frame is one


class MqttConfig(Section, frozen=True):
    """`[mqtt]`: a broker between the lines, what stands beside them, and the hub. Needs the extra hotloop[mqtt]."""

    url: str = ""  # mqtt://host:port, or mqtts:// with TLS; "" is none
    topic: Topic = "hotloop"  # what all topics of this loop begin with
    user: str = ""
    password_file: str = ""
    ca_file: str = ""  # who vouches for the broker's certificate; "": whom this machine trusts


class HubConfig(Section, frozen=True):
    """`[hub]`: the server and its limits."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8420
    body_bytes_max: Positive = 32 * 2**20
    json_bytes_max: Positive = 4 * 2**20
    events_max: Positive = 1000  # in one request
    requests_max: Positive = 64  # under way at once; more are answered 503 with Retry-After
    streams_max: Positive = 512  # lines that follow releases at once
    follow_s: Annotated[float, Meta(gt=0, le=300)] = 15.0  # a stream says that it lives at least this often


class StoreConfig(Section, frozen=True):
    """`[store]`: the log, the lake, the registry."""

    folder: str = "hotloop-data"
    group_commit_s: Seconds = 0.002  # how long an append may wait for others to share its sync
    pending_events_max: Positive = 20_000  # appended but not yet durable; more raise OverloadError
    free_bytes_min: Positive = 64 * 2**20  # below this, new images are refused before the log is


class JoinConfig(Section, frozen=True):
    """`[join]`: predictions and feedback that wait for each other."""

    entries_max: Positive = 20_000  # kept in memory (some 8 kB each); older ones are looked up in the log
    feedback_max: Positive = 64  # feedbacks on one prediction; more are kept in the log but not learned


class EdgeConfig(Section, frozen=True):
    """`[edge]`: the line's side (`hotloop edge`)."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 0  # of this device, for payloads by HTTP; 0: none
    payload_bytes_max: Positive = 16 * 2**20  # of one payload by HTTP
    report_s: Annotated[float, Meta(gt=0)] = 10.0  # so often a line says how it is
    spool_bytes_max: Positive = 2 * 2**30  # of what waits for the hub; beyond it the cheapest is dropped and counted
    spool_age_s_max: Annotated[float, Meta(gt=0)] = 7 * 86_400.0  # of what waits for the hub, verdicts apart
    slower_max: Annotated[float, Meta(ge=1)] = 3.0  # times as long as what answers now: more is not installed
    latency_s_least: Seconds = 0.005  # a release is not too slow below this, whatever the ratio
    payloads_kept: Positive = 16  # newest payloads, in memory, that a release is tried on
    probe_s: Annotated[float, Meta(gt=0)] = 4.0  # that another backbone may take to start and answer them
    probe_bytes_max: Annotated[int, Meta(ge=0)] = 4 * 2**30  # memory of that trial; 0: no limit
    shadow_pieces: Annotated[int, Meta(ge=0)] = 16  # that another backbone answers unheard before it may answer
    shadow_s: Seconds = 10.0  # and for how long at most it waits for them
    proven_pieces: Positive = 20  # answered without trouble, and a release has proven itself
    keep_s: Seconds = 10.0  # at most so often is a new head written to the device's disk


class LoopConfig(Section, frozen=True):
    """The whole of `loop.toml`."""

    name: Name = "loop"
    vertical: str = "inspection"
    site: Name = "site-1"
    sense: SenseConfig = SenseConfig()
    join: JoinConfig = JoinConfig()
    learn: LearnConfig = LearnConfig()
    gate: GateConfig = GateConfig()
    rollout: RolloutConfig = RolloutConfig()
    trust: TrustConfig = TrustConfig()
    refresh: RefreshConfig = RefreshConfig()
    review: ReviewConfig = ReviewConfig()
    hub: HubConfig = HubConfig()
    edge: EdgeConfig = EdgeConfig()
    mqtt: MqttConfig = MqttConfig()
    store: StoreConfig = StoreConfig()
    tables: dict[str, dict[str, Any]] = {}  # the verticals' own tables: the core does not read them
    base: str = ""  # the folder of loop.toml, from which relative paths are seen


def load(path: Path) -> LoopConfig:
    """Read `loop.toml`. Relative folders in it are relative to the file's own. ConfigError names key and place."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} is not there. Write one with: hotloop init {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return resolve(parse(text, str(path)), path.resolve().parent)


def parse(text: str, name: str = "loop.toml") -> LoopConfig:
    """The settings in `text`. ConfigError says which key of `name` is wrong, and how.

    A table that is none of the core's is a vertical's (`[inspection]`): it is kept as it is, for `own_table`.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not TOML: {error}") from error
    return from_tables(found, name)


def from_tables(found: dict[str, Any], name: str) -> LoopConfig:
    """The settings in tables as TOML gives them. ConfigError says which key of `name` is wrong, and how."""
    core = {field.name for field in msgspec.structs.fields(LoopConfig)} - {"tables", "base"}
    own = {key: value for key, value in found.items() if key not in core and isinstance(value, dict)}
    rest = {key: value for key, value in found.items() if key not in own}
    if strange := sorted({"tables", "base"} & set(rest)):
        raise ConfigError(f"{name}: there is no setting {strange[0]!r}")
    try:
        return msgspec.structs.replace(msgspec.convert(rest, LoopConfig), tables=own)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_said(error)}") from error


def own_table(config: LoopConfig, name: str, kind: type[Own]) -> Own:
    """A vertical's own table, checked against its record. ConfigError says which key is wrong, and how."""
    try:
        return msgspec.convert(config.tables.get(name, {}), kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"[{name}] {_said(error, f'{name}.')}") from error


def _said(error: msgspec.ValidationError, prefix: str = "") -> str:
    return f"{str(error).replace('`$.', f'`{prefix}')}. `hotloop init` writes every key with its meaning."


def resolve(config: LoopConfig, base: Path) -> LoopConfig:
    """Make the paths in `config` absolute, seen from `base`, and keep `base` for those of the verticals."""
    return msgspec.structs.replace(
        config,
        store=msgspec.structs.replace(config.store, folder=path_from(base, config.store.folder)),
        sense=msgspec.structs.replace(
            config.sense,
            folder=path_from(base, config.sense.folder),
            reference=path_from(base, config.sense.reference),
            camera=_camera_from(base, config.sense.camera),
        ),
        mqtt=msgspec.structs.replace(
            config.mqtt,
            password_file=path_from(base, config.mqtt.password_file),
            ca_file=path_from(base, config.mqtt.ca_file),
        ),
        learn=msgspec.structs.replace(
            config.learn, federated=tuple(path_from(base, path) for path in config.learn.federated)
        ),
        base=config.base or str(base.resolve()),
    )


def path_from(base: str | Path, text: str) -> str:
    """`text` as an absolute path, seen from `base`; "" stays ""."""
    return str((Path(base) / text).resolve()) if text else ""


def _camera_from(base: Path, text: str) -> str:
    """A camera as it is, a video file as an absolute path."""
    return text if text.isdecimal() or "://" in text or text.startswith("gst:") else path_from(base, text)


def check_name(text: str, what: str) -> str:
    """`text` if it can name a line, a device, a reviewer; else ConfigError."""
    if not _NAME.match(text):
        raise ConfigError(
            f"{what} {text[:80]!r} is no name: use 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first"
        )
    return text
