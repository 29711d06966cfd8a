"""`m3 up`: all nodes from one command, and the end of one is the end of all."""

import signal

from m3_ros.nodes.graph import NODES


def test_all_nodes_run_and_end_cleanly_on_ctrl_c(nodes, client):
    graph = nodes.start("graph")
    for node, state in {"recorder": "idle", "trainer": "idle", "memory": "active", "navigator": "idle"}.items():
        client.status(lambda s, state=state: s["state"] == state, node, "status")
    assert graph.stop(signal.SIGINT) == 0, graph.output
    assert all(node in graph.output for node in NODES)


def test_the_death_of_one_node_is_named_and_ends_the_others(nodes, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "params.yaml").write_text(
        f"/**/recorder:\n  ros__parameters: {{auto_start: true, bag_path: {tmp_path}/taken}}\n"
    )
    graph = nodes.start("graph", "--nodes", "recorder", "navigator", "--params-file", str(tmp_path / "params.yaml"))
    assert graph.wait() == 1
    assert "the recorder ended with exit code 1" in graph.output
    assert "exists already" in graph.output


def test_unknown_parameter_file_is_one_line(nodes):
    graph = nodes.start("graph", "--params-file", "/nowhere.yaml")
    assert graph.wait() == 2
    assert "there is no parameter file /nowhere.yaml" in graph.output
