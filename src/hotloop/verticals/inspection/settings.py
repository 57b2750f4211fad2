"""`[inspection]` of loop.toml."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hotloop.config import ImageLimits, LoopConfig, Section, own_table, path_from
from hotloop.errors import ConfigError
from hotloop.predict.runtimes import Runtime, Variant


class InspectionConfig(Section, frozen=True):
    """`[inspection]`: pictures in, boxes or a kind of the whole piece out."""

    task: Literal["boxes", "image"] = "boxes"
    start: str = "boards"  # "boards" (shipped), "none" (cold start), or the path of a model trained by oneself
    labels: tuple[str, ...] = ()  # empty: those of the start model
    good: Annotated[str, Meta(min_length=1)] = "ok"  # task "image": what a piece without defects is called
    reference: bool = True  # pieces are compared with a template
    labelled: str = ""  # folder with labels to start from: COCO, YOLO, masks or DeepPCB
    images: ImageLimits = ImageLimits()
    runtimes: tuple[Runtime, ...] = ("cpu",)  # where the network runs: the first that this machine has
    variants: tuple[Variant, ...] = ()  # other forms of the network that each refresh makes, if they pass


def settings_of(config: LoopConfig) -> InspectionConfig:
    """The table of a loop, its paths absolute. ConfigError says which key is wrong, and how."""
    found = own_table(config, "inspection", InspectionConfig)
    if len(set(found.labels)) != len(found.labels):
        raise ConfigError(f"[inspection] labels: each stands once; {', '.join(found.labels)} has one twice")
    named = found.start in ("boards", "none")
    return msgspec.structs.replace(
        found,
        labelled=path_from(config.base, found.labelled),
        start=found.start if named else path_from(config.base, found.start),
    )
