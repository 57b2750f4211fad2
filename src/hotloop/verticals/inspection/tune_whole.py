"""Fine-tuning EfficientNet-Lite0 on verified whole pieces: for `refresh.py`.

What is trained is what the reflex reads: the pooled features as `classifier.py` takes them, under a linear head that
begins at the closed form on the features as they are, so that the first gradients already mean something. Normalisation
keeps its ImageNet statistics: batches here are small.
"""

# mypy: allow-subclassing-any, disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from hotloop.errors import InputError, ModelError
from hotloop.sense.images import decode_image
from hotloop.types import Example, Floats, Payload
from hotloop.verticals.inspection.bundle import LITE0, make_bundle, open_bundle
from hotloop.verticals.inspection.classifier import SIDE_PX, SIZE, squeezed
from hotloop.verticals.inspection.export import TOLERANCE, Pooled, difference, swap_weights, weights_of
from hotloop.verticals.inspection.nets.efficientnet import IMAGENET_MEAN, IMAGENET_SPREAD, EfficientNetLite0
from hotloop.verticals.inspection.train import Pixels
from hotloop.verticals.inspection.whole import WholeImage

_BATCH = 16
_RATE = 3e-4
_DECAY = 0.01
_STEPS_LEAST, _STEPS_PIECE = 100, 1
_FIRST_BLOCK = 5  # blocks before it keep their ImageNet weights: edges and textures are the same everywhere
_RIDGE = 1.0
_SHIFT_PX = 12
_WARM = 0.1
_MIN = 1e-6


class Classifier(nn.Module):
    """Backbone, the reflex's reading of it, and a linear head."""

    def __init__(self, backbone: EfficientNetLite0, kinds: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(112 + 1280, kinds)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) in 0 to 255 -> (n, 1392): centred, of length SIZE, as `classifier.expand` gives them."""
        maps = self.backbone.pyramid((pixels - IMAGENET_MEAN) / IMAGENET_SPREAD)
        top = self.backbone.top(maps[2]).mean((2, 3)).clamp(min=_MIN).sqrt()
        raw = torch.cat((top, maps[1].mean((2, 3))), 1)
        centred = raw - raw.mean(1, keepdim=True)
        return SIZE * centred / centred.norm(dim=1, keepdim=True).clamp(min=_MIN)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) -> (n, kinds) logits."""
        logits: torch.Tensor = self.head(self.features(pixels))
        return logits


class WholeRun:
    """See `refresh.Run`."""

    def __init__(
        self, begun: WholeImage, examples: Sequence[Example], read: Callable[[Example], Payload], seed: int
    ) -> None:
        """InputError without an example; ModelError if the backbone is not EfficientNet-Lite0."""
        self._begun = open_bundle(begun.bundle(), LITE0)
        kinds, pictures = [], []
        for example in examples:
            votes = [(v, example.weight(k)) for k, f in enumerate(example.feedback) if (v := begun.vote(f)) is not None]
            if any(weight for _, weight in votes):
                mean = np.average([v for v, _ in votes], axis=0, weights=[weight for _, weight in votes])
                kinds.append(int(mean.argmax()))
                pictures.append(squeezed(decode_image(read(example).data), SIDE_PX, "RGB"))
        if not pictures:
            raise InputError("there is no verified piece to train on")
        self._pictures: list[Pixels] = pictures
        self._kinds, self._count, self._seed = np.array(kinds), len(begun.labels), seed
        shares = np.bincount(self._kinds, minlength=self._count).clip(min=1) ** -0.5
        self._chances: Floats = shares[self._kinds] / shares[self._kinds].sum()
        self.steps_max = _STEPS_LEAST + _STEPS_PIECE * len(pictures)
        self.restart(1)

    def restart(self, steps: int) -> None:
        """Begin at the job's backbone again, for so many steps."""
        torch.manual_seed(self._seed)
        self._steps = steps
        backbone = EfficientNetLite0()
        own = backbone.state_dict()
        kept = {k.removeprefix("backbone."): v for k, v in weights_of(self._begun.onnx).items()}
        backbone.load_state_dict(own | {k: v for k, v in kept.items() if k in own})
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = Classifier(backbone, self._count).to(self.device).eval()
        for index, block in enumerate(backbone._blocks):  # noqa: SLF001  (the checkpoint's own names)
            block.requires_grad_(index >= _FIRST_BLOCK)
        backbone._conv_stem.requires_grad_(False)  # noqa: SLF001
        self._close_head()
        moved = [p for p in self._network.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(moved, lr=_RATE, weight_decay=_DECAY)

    def _close_head(self) -> None:
        """The head that the closed form leads to on the features as they are."""
        with torch.no_grad():
            rows = [self._network.features(self._tensor([p])).double() for p in self._pictures]
            x = torch.cat(rows)
            y = nn.functional.one_hot(torch.from_numpy(self._kinds), self._count).double().to(self.device)
            a = x.T @ x + _RIDGE * torch.eye(x.shape[1], dtype=torch.double, device=self.device)
            weights = torch.linalg.solve(a, x.T @ (y - y.mean(0)))
            self._network.head.weight.copy_(4.0 * weights.T)  # a score of 0 to 1 as a difference of log-odds
            self._network.head.bias.copy_(4.0 * y.mean(0))

    def step(self, number: int) -> float:
        """A step on a batch drawn from (seed, number)."""
        rng = np.random.default_rng((self._seed, 4, number))
        for group in self._optimiser.param_groups:
            share = number / max(self._steps, 1)
            group["lr"] = _RATE * min(1.0, (share + 1 / self._steps) / _WARM) * (1.0 - share)
        chosen = rng.choice(len(self._pictures), _BATCH, p=self._chances)
        pixels = self._tensor([_varied(self._pictures[int(k)], rng) for k in chosen])
        loss = nn.functional.cross_entropy(
            self._network(pixels), torch.from_numpy(self._kinds[chosen]).to(self.device), label_smoothing=0.05
        )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        return float(loss.detach())

    def _tensor(self, pictures: Sequence[Pixels]) -> torch.Tensor:
        stack = np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32)
        return torch.from_numpy(stack).to(self.device)

    def state(self) -> dict[str, torch.Tensor]:
        """Weights, and the optimiser's moments."""
        tensors = {f"now.{key}": value for key, value in self._network.state_dict().items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{key}": torch.as_tensor(value) for key, value in moments.items()}
        return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from `state`."""
        self._network.load_state_dict({key[4:]: value for key, value in state.items() if key.startswith("now.")})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam."):
                _, index, name = key.split(".")
                moments.setdefault(int(index), {})[name] = value
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": moments})

    def bundle(self) -> bytes:
        """The trained backbone, by weight swap. ModelError if it would answer differently."""
        pooled = Pooled(self._network.backbone.cpu()).eval()
        onnx = swap_weights(self._begun.onnx, pooled.state_dict())
        worst = difference(pooled, onnx, (1, 3, 64, 64))
        if not worst <= TOLERANCE:
            raise ModelError(f"the exported model answers differently from the trained one: by {worst:.2g}")
        return make_bundle(LITE0, onnx, b"")


def _varied(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """As another photograph of the same kind: mirrored, shifted, lighter or darker, with more or less contrast."""
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    if rng.random() < 0.5:
        picture = picture[::-1]
    picture = np.roll(picture, tuple(rng.integers(-_SHIFT_PX, _SHIFT_PX + 1, 2)), (0, 1))
    gain, lift = rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    varied: Pixels = ((picture.astype(np.float32) - 127) * gain + 127 + lift).clip(0, 255).astype(np.uint8)
    return varied
