"""A Ray cluster whose head computes nothing and whose autoscaler starts nodes of one CPU as they are asked for, on this machine.

Prints the address; ends with its input.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PORT = 6379
CONFIG = {
    "cluster_name": "here",
    "provider": {"type": "fake_multinode"},
    "max_workers": 2,
    "idle_timeout_minutes": 1,
    "upscaling_speed": 1.0,
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1, "object_store_memory": 80 * 2**20}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    "auth": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}
"""Ray's own provider for tests: its nodes are processes of this machine."""


def main() -> None:
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # `ray start` talks, and the address has to come first
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(CONFIG, file)
        file.flush()
        start = [str(Path(sys.executable).with_name("ray")), "start", "--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false"]
        environment = os.environ | {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
        subprocess.run([*start, f"--autoscaling-config={file.name}"], env=environment, check=True)
    print(f"127.0.0.1:{PORT}", file=said, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
