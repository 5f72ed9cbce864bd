"""A Ray cluster whose head computes nothing and whose autoscaler starts nodes of one CPU as they are asked for, on this machine.

Prints the address; ends with its input.
"""

import os
import sys

from ray.cluster_utils import AutoscalingCluster

NODE = {"CPU": 1, "object_store_memory": 80 * 2**20}
PORT = 6379


def main() -> None:
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # `ray start` talks, and the address has to come first
    kinds = {"worker": {"resources": NODE, "node_config": {}, "min_workers": 0, "max_workers": 2}}
    AutoscalingCluster(head_resources={"CPU": 0}, worker_node_types=kinds, idle_timeout_minutes=1).start()
    print(f"127.0.0.1:{PORT}", file=said, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
