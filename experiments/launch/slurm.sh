#!/usr/bin/env bash
# A run on GPUs of a SLURM cluster, one process a node; docs/pods.md goes through it.
#
#   sbatch --nodes=4 --gpus-per-node=8 experiments/launch/slurm.sh --config=… --workdir=/shared/RUN
#
#SBATCH --job-name=gm_jax
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?submit this with sbatch, in the repository}"

read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address=$first:$((20000 + SLURM_JOB_ID % 10000))

asked=
end() {  # before the time limit: all processes save the same step, and end
  asked=yes
  scancel --signal=TERM "$SLURM_JOB_ID"  # reaches the processes, not this script
}
trap end TERM

# shellcheck disable=SC2016  # each process has its own SLURM_PROCID
srun --kill-on-bad-exit=1 bash -c 'exec python experiments/main.py "$@" \
  --num_processes="$SLURM_NTASKS" --process_id="$SLURM_PROCID"' \
  bash "$@" --coordinator="$address" &
code=0
wait $! || code=$?
if [ -n "$asked" ]; then  # the signal ended that wait, not the processes
  code=0
  wait $! || code=$?
  if [ "$code" = 0 ]; then
    scontrol requeue "$SLURM_JOB_ID"
  fi
fi
exit "$code"
