#!/usr/bin/env bash
# Example for Slurm, not run here: encode on all GPUs of two nodes, then compare on one. Usage: sbatch scripts/cluster/slurm.sh SUITE
#SBATCH --job-name=semconv
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --mem=128G
#SBATCH --time=08:00:00
set -euo pipefail
suite=${1:?which suite}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}  # download before, on a node that may: semconv encode fetches what it needs
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint "$head:29500" \
  --rdzv-id "$SLURM_JOB_ID" -m semconv encode "$suite" --out "runs/$suite"  # the run folder must be on a shared disk
srun --nodes 1 --ntasks 1 semconv reproduce "$suite" --out "runs/$suite"
