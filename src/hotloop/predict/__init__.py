"""predict: Observation + Model -> Prediction."""

from hotloop.predict.head import pack_head, unpack_head
from hotloop.predict.predictor import Predictor

__all__ = ["Predictor", "pack_head", "unpack_head"]
