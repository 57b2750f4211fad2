"""join: Prediction + Feedback -> Example."""

from hotloop.join.joiner import Entry, Joiner, Word, fold, join, subject

__all__ = ["Entry", "Joiner", "Word", "fold", "join", "subject"]
