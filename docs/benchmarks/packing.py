#!/usr/bin/env python3
"""Packs the published trace with every policy and ten seeds, one policy after another per seed, and prints medians.

packing.py BERTH NODES.csv PODS.csv. The trace is Alibaba's cluster-trace-gpu-v2023 (openb_node_list_gpu_node.csv,
openb_pod_list_default.csv); it is not part of this repository.
"""
import json
import statistics
import subprocess
import sys

PUBLISHED = {"random": 87.16, "best-fit": 93.04, "fgd": 95.37}

berth, nodes, pods = sys.argv[1:4]
runs = {policy: [] for policy in ("random", "best-fit", "fgd", "berth")}
for seed in range(42, 52):
    for policy, found in runs.items():
        words = ["sim", "pack", "--nodes", nodes, "--pods", pods, "--policy", policy, "--seed", str(seed), "-o", "json"]
        found.append(json.loads(subprocess.run([berth, *words], check=True, capture_output=True).stdout))
        print(policy, seed, found[-1]["gpu_allocation_percent"], f'{found[-1]["seconds"]:.2f} s', flush=True)
for policy, found in runs.items():
    at = {mark: [run["gpu_allocation_percent"][mark] for run in found] for mark in ("100", "120", "130")}
    rate = statistics.median(run["placements"] / run["seconds"] for run in found)
    medians = ", ".join(f"{statistics.median(values):.2f} at {mark} %" for mark, values in at.items())
    spread = f'{min(at["120"]):.2f} to {max(at["120"]):.2f}'
    print(f"{policy}: median {medians}; at 120 %: {spread}, published {PUBLISHED.get(policy, '-')}; {rate:.0f} placements/s")
