"""SUMO behind the port: the planner's vehicle drives in SUMO, on a road along its reference path.

The road is made by netconvert, one lane as wide as the corridor; SUMO steps its vehicle with the planner's speed
(its own checks off, its ballistic integration on), and says where it is. The others are placed as everywhere
(`others.Others`). Eclipse SUMO is EPL-2.0: the extra hotloop[sumo], imported only where it is asked for. libsumo has
one simulation a process: engines of several threads wait for each other.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import libsumo
import numpy as np
import sumo as installed
from lxml import etree

from hotloop.errors import InputError
from hotloop.verticals.driving.engines import Run, Seen, Tape, Waiting, said
from hotloop.verticals.driving.geometry import SPACING_M
from hotloop.verticals.driving.others import Batch, Ego, Others, batch_of
from hotloop.verticals.driving.planner import Planner
from hotloop.verticals.driving.scenario import STEP_S, Scenario

_EDGE, _CAR = "path", "ego"
_ONE: Final = threading.Lock()


class Sumo:
    """The engine, scene by scene."""

    name = "sumo"

    def run(self, scenarios: Sequence[Scenario], planner: Planner, seed: int = 0) -> tuple[Run, ...]:
        """Each scene with the planner in its seat. InputError if SUMO takes no road along its path."""
        with _ONE, TemporaryDirectory() as folder:
            return tuple(self._one(batch_of([one]), planner, Path(folder), seed) for one in scenarios)

    def _one(self, batch: Batch, planner: Planner, folder: Path, seed: int) -> Run:
        network = _network(batch, folder)
        libsumo.start([
            "sumo", "-n", str(network), "--step-length", str(STEP_S), "--seed", str(seed), "--no-step-log", "true",
            "--no-warnings", "true", "--collision.action", "none", "--step-method.ballistic", "true",
            "--time-to-teleport", "-1",
        ])  # fmt: skip
        try:
            return self._played(batch, planner)
        finally:
            libsumo.close()

    def _played(self, batch: Batch, planner: Planner) -> Run:
        scene = batch.scenarios[0]
        others, seen, tape = Others(batch), Seen(batch), Tape(batch)
        stretch = libsumo.lane.getLength(f"{_EDGE}_0") / ((batch.path.shape[1] - 1) * SPACING_M)
        _depart(scene, stretch)
        acceleration = np.zeros(1)
        d = np.zeros(1)
        ego = _ego(seen, d, stretch, scene)
        waiting = Waiting(batch, ego.d)
        tape.take(0, ego, acceleration, others)
        for frame in range(scene.frames - 1):
            if tape.over(frame + 1).all():
                break
            plan = waiting.next(said(planner, seen.view(ego, acceleration, others)))
            v = float(ego.v[0])
            wanted = max(v + float(plan.acceleration[0]) * STEP_S, 0.0)
            side = min(1.0, 0.3 * wanted) * STEP_S
            d = d + np.clip(plan.offset - d, -side, side)
            libsumo.vehicle.setSpeed(_CAR, wanted * stretch)
            libsumo.simulationStep()
            others.step(frame, ego)
            ego = _ego(seen, d, stretch, scene)
            acceleration = (ego.v - v) / STEP_S
            tape.take(frame + 1, ego, acceleration, others)
        return tape.runs(self.name)[0]


def _depart(scene: Scenario, stretch: float) -> None:
    """SUMO's vehicle in the seat, as obedient as can be."""
    actor = scene.seat.actor
    libsumo.vehicletype.copy("DEFAULT_VEHTYPE", "seat")
    libsumo.vehicletype.setLength("seat", actor.length)
    libsumo.vehicletype.setMaxSpeed("seat", 70.0)
    libsumo.vehicletype.setAccel("seat", 9.0)
    libsumo.vehicletype.setDecel("seat", 12.0)
    libsumo.vehicletype.setEmergencyDecel("seat", 12.0)
    libsumo.vehicletype.setImperfection("seat", 0.0)
    libsumo.route.add("way", [_EDGE])
    front = (scene.start_m + actor.length / 2) * stretch
    libsumo.vehicle.add(_CAR, "way", "seat", departPos=f"{front:.3f}", departSpeed=f"{scene.seat.v:.3f}")
    libsumo.vehicle.setSpeedMode(_CAR, 0)
    libsumo.vehicle.setLaneChangeMode(_CAR, 0)
    libsumo.simulationStep()  # it is put in at the end of a step, where it was said to depart
    libsumo.vehicle.setPreviousSpeed(_CAR, scene.seat.v * stretch)


def _ego(seen: Seen, d: np.ndarray, stretch: float, scene: Scenario) -> Ego:
    """Where SUMO says it is. Its place on a lane is the front bumper's."""
    if _CAR not in libsumo.vehicle.getIDList():
        raise InputError(f"{scene.name}: SUMO has lost the vehicle: is the path longer than the way it drove?")
    s = libsumo.vehicle.getLanePosition(_CAR) / stretch - scene.seat.actor.length / 2
    return seen.ego(np.array([s]), d, np.array([libsumo.vehicle.getSpeed(_CAR) / stretch]))


def _network(batch: Batch, folder: Path) -> Path:
    """A road along the path, by netconvert. InputError with what it says if it makes none."""
    path = batch.path[0] - batch.path[0, 0]
    nodes, edges = etree.Element("nodes"), etree.Element("edges")
    for name, (x, y) in (("a", path[0]), ("b", path[-1])):
        etree.SubElement(nodes, "node", id=name, x=f"{x:.3f}", y=f"{y:.3f}")
    shape = " ".join(f"{x:.3f},{y:.3f}" for x, y in path.tolist())
    form = {"id": _EDGE, "from": "a", "to": "b", "numLanes": "1", "speed": "70", "spreadType": "center", "shape": shape}
    etree.SubElement(edges, "edge", form)
    written = [folder / name for name in ("path.nod.xml", "path.edg.xml", "path.net.xml")]
    written[0].write_bytes(etree.tostring(nodes))
    written[1].write_bytes(etree.tostring(edges))
    made = subprocess.run(  # noqa: S603 SUMO's own program, on files of ours
        [str(Path(installed.SUMO_HOME) / "bin" / "netconvert"), "-n", str(written[0]), "-e", str(written[1]),
         "-o", str(written[2]), "--no-warnings", "true", "--offset.disable-normalization", "true"],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    if made.returncode:
        raise InputError(f"{batch.scenarios[0].name}: no road for SUMO: {made.stderr.decode(errors='replace')[-300:]}")
    return written[2]
