"""A Ray cluster of several nodes on this machine, told on stdin what happens to them: `kill`, `add`; it ends with its input.

python nodes.py N: prints the address, then `done` after each command.
"""

import os
import sys

import psutil
from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


def kill(cluster: Cluster) -> None:
    """Take the power from a node that is not the head: SIGKILL to everything it runs."""
    node = next(iter(cluster.worker_nodes))
    started = [psutil.Process(one.process.pid) for processes in node.all_processes.values() for one in processes]
    for process in [child for parent in started for child in parent.children(recursive=True)] + started:
        process.kill()
    cluster.worker_nodes.remove(node)


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    for _ in range(int(sys.argv[1]) - 1):
        cluster.add_node(**NODE)
    print(cluster.address, flush=True)
    for command in sys.stdin:
        if command.strip() == "kill":
            kill(cluster)
        else:
            cluster.add_node(**NODE)
        print("done", flush=True)
    for process in psutil.Process().children(recursive=True):
        process.kill()
    os._exit(0)


if __name__ == "__main__":
    main()
