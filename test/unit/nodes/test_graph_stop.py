"""No node outlives the graph, however deaf it is."""

import subprocess
import sys

import pytest

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
HALF_DEAF = (
    "import signal, sys, time\n"
    "seen = []\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0) if seen else seen.append(1))\n"
    "print('up', flush=True)\n"
    "while True: time.sleep(0.05)\n"
)


@pytest.mark.parametrize(("code", "failed"), [(DEAF, ["node"]), (HALF_DEAF, [])])
def test_a_node_that_misses_the_first_signal_is_ended(code, failed, monkeypatch):
    graph = pytest.importorskip("m3_ros.nodes.graph", reason="needs rclpy")
    monkeypatch.setattr(graph, "STOP_S", 1.0)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        assert graph._stop({"node": process}) == failed
        assert process.poll() is not None
