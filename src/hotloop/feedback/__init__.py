"""feedback: what someone says of a Prediction -> Feedback."""

from hotloop.feedback.check import check_feedback
from hotloop.feedback.verdict import false_alarms, right, verdict

__all__ = ["check_feedback", "false_alarms", "right", "verdict"]
