"""The deciders (join, gate, rollout, feedback checks) have every branch tested: run after pytest --cov."""

from __future__ import annotations

import subprocess
import sys

DECIDERS = "src/hotloop/join/*,src/hotloop/gate/*,src/hotloop/rollout/*,src/hotloop/feedback/*"

if __name__ == "__main__":
    command = [sys.executable, "-m", "coverage", "report", f"--include={DECIDERS}", "--fail-under=100", "-m"]
    sys.exit(subprocess.run(command, check=False).returncode)
