"""The sabotages: for each row of TRUST, a one-line break of our own code that the row's check must notice.

To add one: append a `Sabotage` to `SABOTAGES`. Its `patch` is a context manager under which the break is in
place; `check` is what the row's own test calls, made small, and must raise AssertionError under the patch and
pass without it. A check that has never failed is not known to work.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from unittest import mock

import msgspec

from hotloop import agent, gate
from hotloop.adapters.hub_client import HubClient
from hotloop.adapters.release_check import ReleaseCheck
from hotloop.agent import Agent
from hotloop.config import EdgeConfig, HubConfig
from hotloop.edge import health, probe
from hotloop.errors import ConfigError, HubUnreachableError, InputError
from hotloop.feedback import trust
from hotloop.gate.sealed import Sealed
from hotloop.hub import app as hub_app
from hotloop.hub import auth, problems, server, stream, table
from hotloop.hub.routes import ROUTES
from hotloop.join import Joiner, joiner
from hotloop.learn import Sums
from hotloop.lineage import Lineage
from hotloop.sense import images
from hotloop.store import format as form
from hotloop.store import local
from hotloop.store.signing import Signer
from hotloop.store.spool import DiskSpool
from hotloop.store.verify import Scan
from hotloop.store.writer import Writer
from hotloop.testing.faulty import Faulty, bundle
from hotloop.testing.full_disk import check_failing_calls
from hotloop.testing.offline_line import check_offline_day
from hotloop.testing.online_fleet import check_rollback_reaches
from hotloop.testing.power import check_power_cuts
from hotloop.testing.release_attacks import check_release_attacks
from hotloop.testing.rot import check_bit_rot
from hotloop.testing.slot_power import check_slot_cuts
from hotloop.testing.spool_power import check_spool_cuts
from hotloop.types import Event, Payload


@dataclass(frozen=True)
class Sabotage:
    """A break of our code: which row of TRUST must catch it, its name, how to apply it, the check (given a folder)."""

    row: int
    name: str
    patch: Callable[[], AbstractContextManager[object]]
    check: Callable[[Path], object]


@contextlib.contextmanager
def edited(owner: object, name: str, old: str, new: str) -> Iterator[None]:
    """Put `new` for `old` in the source of one function of a module or class, for a while.

    `old` must occur exactly once, so that a sabotage cannot outlive the code that it breaks unnoticed.
    """
    function = inspect.getattr_static(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {name}: mend the sabotage"
    compiled = compile(source.replace(old, new), function.__code__.co_filename, "exec")
    code = next(part for part in compiled.co_consts if isinstance(part, CodeType) and part.co_name == name)
    broken = FunctionType(code, function.__globals__, name, function.__defaults__)
    broken.__kwdefaults__ = function.__kwdefaults__
    with mock.patch.object(owner, name, broken):
        yield


def tests_in(path: str) -> ModuleType:
    """The test file at `path` below tests/, for rows whose check is in the test itself."""
    spec = importlib.util.spec_from_file_location(f"sabotaged_{Path(path).stem}", Path(__file__).parent.parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def power(_folder: Path) -> object:
    """TRUST 1, small."""
    return check_power_cuts(400, seed=1)


def rot(folder: Path) -> object:
    """TRUST 3, small."""
    return check_bit_rot(folder, 400, seed=1, opened_every=20)


def full(_folder: Path) -> object:
    """TRUST 4, small."""
    return check_failing_calls(60, seed=1)


def clocks(_folder: Path) -> object:
    """TRUST 7, with clocks that jump or stand still."""
    check = tests_in("sim/test_join_clocks.py").test_the_join_is_the_same_whatever_the_clocks_say
    return [check(name) for name in ("jumping", "standing still")]


def oracle(_folder: Path) -> object:
    """TRUST 8, small."""
    check = tests_in("sim/test_join_oracle.py").check_driver
    return [check(seed) for seed in range(1500)]


def unlearned(_folder: Path) -> object:
    """TRUST 11."""
    return tests_in("unit/learn/test_moments.py").test_a_thousand_unlearned_verdicts_leave_no_trace()


def killed_learner(_folder: Path) -> object:
    """TRUST 10, at fewer points."""
    tests = tests_in("unit/test_killed.py")
    stand = tests_in("unit/conftest.py").Stand

    def make(**settings: bool) -> object:
        found = stand(**settings)
        found.start()
        return found

    return tests.check(make, 40)


def poisoned_small(_folder: Path) -> object:
    """TRUST 12, on drawn vectors."""
    return tests_in("sim/test_poison.py").check_drawn()


def broken_candidates(_folder: Path) -> object:
    """TRUST 13, small."""
    return tests_in("sim/test_candidates.py").check_sabotaged(4)


def tainted(_folder: Path) -> object:
    """TRUST 14, small."""
    return tests_in("sim/test_sealed.py").check_taint(3)


def quota(_folder: Path) -> object:
    """TRUST 14: nobody teaches more than a fifth."""
    return tests_in("sim/test_sealed.py").test_one_reviewer_is_at_most_a_fifth()


def hostile(_folder: Path) -> object:
    """TRUST 20, small and in this process."""
    return tests_in("security/hostile_images.py").check_hostile_images(0, 240)


def killed(folder: Path) -> object:
    """TRUST 2, small."""
    return tests_in("system/test_kill9.py").check(folder, kills=6, events=800)


def fuzzed(folder: Path) -> object:
    """TRUST 19, small."""
    with tests_in("security/conftest.py").open_hub(folder) as hub:
        return tests_in("security/test_fuzz.py").fuzz(hub, 19, 1_500)


def roles(folder: Path) -> object:
    """TRUST 22, for a role and a line bound to its name."""
    tests, rows = tests_in("security/test_routes.py"), ROUTES[3:9]
    with tests_in("security/conftest.py").open_hub(folder) as hub:
        for route in rows:
            tests.test_each_role_may_what_the_table_says(hub, route, "line")
        bound = next(route for route in rows if route.path == "/v1/events")
        return tests.test_a_bound_line_reaches_its_own_and_not_what_is_foreign(hub, bound)


def public(folder: Path) -> None:
    """TRUST 24: who may reach the hub, and whether two first starts share a secret."""
    tokens = [{c.token for c in auth.open_credentials(folder / name)} for name in ("one", "two")]
    assert not tokens[0] & tokens[1], "two hubs share a secret"
    for host in ("0.0.0.0", "::", "192.168.1.4"):
        try:
            server.check_address(HubConfig(host=host))
        except ConfigError:
            continue
        raise AssertionError(f"{host} was taken")


def new_keys(client: HubClient, events: Sequence[Event]) -> list[int]:
    """Send as a client would that numbers its events anew at each try."""
    for attempt in range(10_000):
        fresh = [Event(e.device, e.sequence + attempt * 10**6, e.body) for e in events]
        with contextlib.suppress(HubUnreachableError):
            answer = client._ask("POST", "/v1/events", content=msgspec.msgpack.encode(fresh), headers=_MSGPACK)
            return list(msgspec.json.decode(answer.content)["offsets"])
    raise AssertionError("the hub did not come back")


_MSGPACK = {"content-type": "application/msgpack"}


@contextlib.contextmanager
def keys_made_anew() -> Iterator[None]:
    """Each try is one request under new keys."""
    made = HubClient.__init__

    def once(self: HubClient, url: str, token: str, **_: object) -> None:
        made(self, url, token, deadline_s=0.0)

    with mock.patch.object(HubClient, "__init__", once), mock.patch.object(HubClient, "send", new_keys):
        yield


@contextlib.contextmanager
def unmapped() -> Iterator[None]:
    """The statuses without the one for what a sender got wrong."""
    left = {kind: status for kind, status in problems.STATUSES.items() if kind is not InputError}
    with mock.patch.object(problems, "STATUSES", left):
        yield


def spool_cuts(_: Path) -> None:
    """Row 6: power cuts under the spool."""
    check_spool_cuts(400, seed=2)


def offline_day(folder: Path) -> None:
    """Row 6: a spool too small for some hours, and then for their age."""
    for name, limits in (
        ("all", EdgeConfig()),
        ("small", EdgeConfig(spool_bytes_max=60_000)),
        ("young", EdgeConfig(spool_age_s_max=7_200.0)),
    ):
        check_offline_day(folder / name, events=1_000, restarts=5, limits=limits)


def keys_at_sending() -> AbstractContextManager[object]:
    """A key that is made when an event is sent, not before."""
    return edited(
        agent,
        "_event",
        "type=Event)",
        "type=Event).__class__(str(id(item)), id(item), msgspec.msgpack.decode(item.data, type=Event).body)",
    )


def attacks(folder: Path) -> None:
    """Row 15: each attack twenty times, true releases between them."""
    check_release_attacks(folder, 180, seed=3)


def slot_cuts(_: Path) -> None:
    """Row 16: power cuts under an installation."""
    check_slot_cuts(400, seed=2)


def faults(_: Path) -> None:
    """Row 17: backbones that are slow, or answer otherwise than the gate expects, are not fit."""
    head, payloads = Faulty(bundle()).start(), [Payload(f"[{k}.0, -0.5]".encode()) for k in range(-8, 8)]
    present = probe.tried(Faulty(bundle()), head, payloads)
    for fault in ("slow", "other", "nan", "raise"):
        trial = probe.tried(Faulty(bundle(0.5, fault)), head, payloads)
        assert health.unhealthy(present, trial, 0.95, EdgeConfig(latency_s_least=0.01)), fault


def reaches(folder: Path) -> None:
    """Row 18, small."""
    check_rollback_reaches(folder, 10, limit_s=3.0)


SABOTAGES: list[Sabotage] = [
    Sabotage(1, "never sync", lambda: mock.patch.object(form, "SYNCHRONOUS", "OFF"), power),
    Sabotage(1, "acknowledge before the sync", lambda: mock.patch.object(form, "SYNCHRONOUS", "NORMAL"), power),
    Sabotage(
        1,
        "forget the keys",
        lambda: edited(Writer, "_place", "self._connection.execute(_FIND, key).fetchone()", "None"),
        power,
    ),
    Sabotage(
        1,
        "say it is durable first",
        lambda: edited(
            Writer,
            "_place",
            "offset, chain = tip",
            "offset, chain = tip; self._write_tail((offset + len(entries), chain))",
        ),
        power,
    ),
    Sabotage(2, "make a new key at each try", keys_made_anew, killed),
    Sabotage(3, "believe what lies there", lambda: edited(form, "record", "one) != sealed", "one) is None"), rot),
    Sabotage(3, "ignore the tail file", lambda: edited(Writer, "_read_tip", "tail.offset if tail else 0", "0"), rot),
    Sabotage(
        3,
        "pass over gaps",
        lambda: edited(Scan, "skip_to", "self.bad.extend(range(self.last + 1, offset))", "pass"),
        rot,
    ),
    Sabotage(
        4,
        "acknowledge what failed",
        lambda: edited(Writer, "_serve", "[self._in_our_words(error) for", "[[1] for"),
        full,
    ),
    Sabotage(
        4,
        "call a full disk broken",
        lambda: edited(form, "store_error", "isinstance(error, apsw.FullError)", "False"),
        full,
    ),
    Sabotage(
        6,
        "never sync the spool",
        lambda: edited(local, "_prepare", '"synchronous", "FULL"', '"synchronous", "OFF"'),
        spool_cuts,
    ),
    Sabotage(6, "drop verdicts too", lambda: edited(DiskSpool, "_drop_old", "kind > {_KEPT} AND ", ""), offline_day),
    Sabotage(
        6,
        "drop without counting",
        lambda: edited(DiskSpool, "_drop_surplus", 'self._count({f"{KINDS[kind]}: full": 1})', "pass"),
        offline_day,
    ),
    Sabotage(
        6,
        "forget before it is acknowledged",
        lambda: edited(Agent, "send_once", "self._hub.send(", "self._spool.done(batch); self._hub.send("),
        offline_day,
    ),
    Sabotage(6, "make a new key at each start", keys_at_sending, offline_day),
    Sabotage(
        7,
        "compare what the clocks said",
        lambda: edited(joiner, "_same", "_timeless(old.feedback) == _timeless(new.feedback)", "old == new"),
        clocks,
    ),
    Sabotage(
        7,
        "order by the device's clock",
        lambda: edited(
            joiner,
            "_heard",
            "(word.sequence, -word.offset) <= (kept.sequence, -kept.offset)",
            "word.feedback.at <= kept.feedback.at",
        ),
        clocks,
    ),
    Sabotage(
        8,
        "let the last to arrive win",
        lambda: edited(
            joiner,
            "_heard",
            "(word.sequence, -word.offset) <= (kept.sequence, -kept.offset)",
            "word.offset <= kept.offset",
        ),
        oracle,
    ),
    Sabotage(
        8,
        "join what is ahead in the log",
        lambda: edited(Joiner, "_slot", "if kept.offset < record.offset", ""),
        oracle,
    ),
    Sabotage(
        8,
        "forget early feedback",
        lambda: edited(Joiner, "_keep", "self._early[forgotten] = None", "pass"),
        oracle,
    ),
    Sabotage(
        8,
        "believe a second prediction",
        lambda: edited(Joiner, "_slot", "sure=not self._forgot", "sure=True"),
        oracle,
    ),
    Sabotage(
        11,
        "unlearn the inputs but not the targets",
        lambda: edited(Sums, "add_scaled", "sign * (x.T @ y)", "x.T @ y"),
        unlearned,
    ),
    Sabotage(
        11,
        "unlearn the targets but not the inputs",
        lambda: edited(Sums, "add_scaled", "dsyrk(float(sign)", "dsyrk(1.0"),
        unlearned,
    ),
    Sabotage(
        10,
        "take a rollback at the next version's word",
        lambda: edited(Lineage, "update", "self.version += 1", "self.version += 2 if recorded else 1"),
        killed_learner,
    ),
    Sabotage(
        12,
        "trust everybody",
        lambda: edited(trust.Trust, "standing", "if record is not None and record.distrusted", "if False"),
        poisoned_small,
    ),
    Sabotage(
        12,
        "accuse the honest too",
        lambda: edited(trust.Trust, "_bet", "floor - agreed", "floor - agreed + 0.5"),
        poisoned_small,
    ),
    Sabotage(
        13,
        "look at the mean alone",
        lambda: edited(gate, "judge", "worst.e_value >= len(slices) / config.alpha", "False"),
        broken_candidates,
    ),
    Sabotage(
        14,
        "compare bytes alone",
        lambda: edited(Sealed, "covers", "if alike.any()", "if False"),
        tainted,
    ),
    Sabotage(
        14,
        "let one reviewer fill the batches",
        lambda: edited(trust.Trust, "admits", "own <= max(", "True or own <= max("),
        quota,
    ),
    Sabotage(
        15,
        "believe the number on the envelope",
        lambda: edited(ReleaseCheck, "model", "model.version != release.version", "False"),
        attacks,
    ),
    Sabotage(15, "let versions stand still", lambda: edited(Signer, "_next", "self._last + 1", "0"), attacks),
    Sabotage(
        16,
        "never sync the slots",
        lambda: edited(local, "_prepare", '"synchronous", "FULL"', '"synchronous", "OFF"'),
        slot_cuts,
    ),
    Sabotage(
        17,
        "do not look at the time",
        lambda: edited(health, "unhealthy", "if slow > max(", "if False and max("),
        faults,
    ),
    Sabotage(17, "expect nothing", lambda: edited(health, "unhealthy", "alike < expected", "alike < 0.0"), faults),
    Sabotage(
        18,
        "wake nobody",
        lambda: edited(stream.Broadcast, "_offer", "listener.changed.set()", "pass"),
        reaches,
    ),
    Sabotage(
        18,
        "pass over the next version",
        lambda: edited(hub_app, "send_stream", "if version > after:", "if version > after + 1:"),
        reaches,
    ),
    Sabotage(19, "lose an error's status", unmapped, fuzzed),
    Sabotage(
        22,
        "let every role in",
        lambda: edited(table.Caller, "may", "return permission in (", "return True or ("),
        roles,
    ),
    Sabotage(
        22,
        "let a line speak for others",
        lambda: edited(table.Caller, "act_as", "if self.subject and name", "if False and name"),
        roles,
    ),
    Sabotage(24, "listen anywhere", lambda: edited(server, "check_address", "if not loopback", "if False"), public),
    Sabotage(
        24,
        "ship a secret",
        lambda: edited(auth, "_create", "secrets.token_urlsafe(_TOKEN_BYTES)", '"hotloop" * 8'),
        public,
    ),
    Sabotage(
        20,
        "believe any size",
        lambda: edited(images, "_check_claims", "width * height > limits.pixels_max", "False"),
        hostile,
    ),
    Sabotage(
        20,
        "let the decoder's errors out",
        lambda: edited(images, "decode_image", "except _DECODER_ERRORS", "except KeyError"),
        hostile,
    ),
]
