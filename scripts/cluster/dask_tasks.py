"""Shares the tasks of a study among the workers of a Dask cluster, after `semconv encode`.

    python scripts/cluster/dask_tasks.py SUITE --out FOLDER --scheduler tcp://HOST:8786
    python scripts/cluster/dask_tasks.py SUITE --out FOLDER --workers 2        # a cluster of this machine

The run folder must be on a disk that all workers share. Every worker runs `semconv run-tasks` once, which does tasks
until none is left; one that is lost costs what it was doing, which the others take over. `semconv reproduce SUITE
--out FOLDER` then tells the results. Needs `distributed` (pip install distributed); arguments that this script does not
know go to `semconv run-tasks`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def run_tasks(command: list[str], shard: str) -> str:
    """Runs on a worker: one process of `semconv run-tasks`; returns what it said.

    Raises:
        RuntimeError: it ended with another exit code than 0.
    """
    done = subprocess.run([sys.executable, *command, "--shard", shard], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("--out", type=Path, required=True, help="run folder, on a disk that all workers share")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--scheduler", help="address of a Dask scheduler")
    where.add_argument("--workers", type=int, help="so many workers of one thread on this machine")
    asked, others = parser.parse_known_args()
    if asked.workers is not None and asked.workers < 1:
        parser.error(f"--workers must be at least 1, got {asked.workers}")
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        print("dask_tasks: distributed is needed (pip install distributed)", file=sys.stderr)
        return 2
    command = ["-m", "semconv", "run-tasks", asked.suite, "--out", str(asked.out.resolve()), *others]
    cluster = asked.scheduler or LocalCluster(n_workers=asked.workers, threads_per_worker=1, dashboard_address=None)
    try:
        connection = Client(cluster)
    except OSError as error:
        print(f"dask_tasks: no scheduler answers at {asked.scheduler}: {error}", file=sys.stderr)
        return 2
    with connection as client:
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            print(f"dask_tasks: the cluster at {asked.scheduler} has no worker", file=sys.stderr)
            return 2
        shares = [
            client.submit(
                run_tasks, command, f"{i}/{len(workers)}", workers=[one], allow_other_workers=True, pure=False
            )
            for i, one in enumerate(workers)
        ]
        try:
            said = client.gather(shares)
        except RuntimeError as error:
            print(f"dask_tasks: {error}", file=sys.stderr)
            return 2
    print(said[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
