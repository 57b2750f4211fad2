"""feedback: what someone says of a Prediction -> Feedback."""

from hotloop.feedback.audit import drawn
from hotloop.feedback.check import check_feedback
from hotloop.feedback.conformal import Passes
from hotloop.feedback.trust import Trust
from hotloop.feedback.verdict import false_alarms, right, verdict

__all__ = ["Passes", "Trust", "check_feedback", "drawn", "false_alarms", "right", "verdict"]
