"""predict: Observation + Model -> Prediction."""

from hotloop.predict.head import pack_head, unpack_head
from hotloop.predict.predictor import Current, Predictor

__all__ = ["Current", "Predictor", "pack_head", "unpack_head"]
