"""The memory of a command and everything it starts, read from /proc while it runs (Linux)."""

import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

PROC = Path("/proc")
EVERY_S = 0.02


def run_and_watch(command: Sequence[str], cwd: Path) -> tuple[str, float]:
    """Run a command to its end; what it printed, and the peak memory of its process tree, GiB.

    The peak is the largest sum of resident memory seen, looking every 20 ms; pages that processes share count
    once for each, so it is never too small for that.  0 where there is no /proc.
    """
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak, over = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(EVERY_S):
            peak = max(peak, resident(process.pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    out, err = process.communicate()
    over.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {err[-2000:]}")
    return out, peak


def resident(pid: int) -> float:
    """GiB of physical memory of a process and its descendants; 0 where there is no /proc."""
    return sum(_resident(each) for each in _tree(pid))


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        tasks = list((PROC / str(pid) / "task").iterdir())
        children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except (OSError, ValueError):
        children = []
    return [pid, *(below for child in children for below in _tree(child))]


def _resident(pid: int) -> float:
    """GiB of physical memory."""
    try:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 2**20
    except OSError:
        pass
    return 0.0
