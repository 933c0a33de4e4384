#!/usr/bin/env bash
# Example for Slurm, not run here: encode on the GPUs of two nodes, share the study in an array, tell the results.
# Usage: scripts/cluster/slurm.sh SUITE [MEMBERS]; the run folder, runs/SUITE, must be on a disk that all nodes share.
set -euo pipefail
suite=${1:?which suite} members=${2:-16}
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}  # download before, on a node that may: semconv encode fetches what it needs
encode=$(sbatch --parsable --job-name=encode --nodes=2 --ntasks-per-node=1 --gpus-per-node=4 --time=04:00:00 --wrap="srun torchrun \
  --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-id \$SLURM_JOB_ID \
  --rdzv-endpoint \$(scontrol show hostnames \"\$SLURM_JOB_NODELIST\" | head -n 1):29500 \
  -m semconv encode '$suite' --out 'runs/$suite'")
tasks=$(sbatch --parsable --job-name=tasks --array="0-$((members - 1))" --cpus-per-task=16 --mem=48G --time=24:00:00 \
  --dependency="afterok:$encode" \
  --wrap="semconv run-tasks '$suite' --out 'runs/$suite' --device cpu --memory 16 --shard \$SLURM_ARRAY_TASK_ID/$members")
sbatch --job-name=tell --cpus-per-task=16 --mem=48G --dependency="afterany:$tasks" \
  --wrap="semconv reproduce '$suite' --out 'runs/$suite' --device cpu"
