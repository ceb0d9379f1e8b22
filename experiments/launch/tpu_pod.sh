#!/usr/bin/env bash
# A run on a Cloud TPU pod, from nothing to a deleted pod; docs/pods.md goes through it.
#
#   export TPU=my-pod ZONE=us-central2-b TYPE=v4-32 BUCKET=gs://my-bucket
#   experiments/launch/tpu_pod.sh create | install | start RUN FLAGS… | watch RUN | stop RUN | delete
#
# PROVISIONING is what `create` asks for: --spot (default), or empty for a pod that is not preempted.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${TPU:?name of the pod}" "${ZONE:?its zone}" "${BUCKET:?gs://… of data and runs}"
type=${TYPE:-v4-32}
image=${RUNTIME:-tpu-ubuntu2204-base}  # that of v4; other generations have their own
queue=(gcloud compute tpus queued-resources)

on() {  # runs a command on one host, or on all
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker="$1" --command="$2"
}

case ${1:-} in
  create)
    # shellcheck disable=SC2086  # empty is no flag
    "${queue[@]}" create "$TPU" --node-id="$TPU" --zone="$ZONE" --accelerator-type="$type" \
      --runtime-version="$image" ${PROVISIONING---spot}
    "${queue[@]}" describe "$TPU" --zone="$ZONE" --format='value(state.state)'
    ;;
  install)
    # Every host needs the same code: a run refuses processes whose sources differ.
    archive=$(mktemp -d)/gm_jax.tar.gz
    git archive --format=tar.gz --output="$archive" HEAD
    gcloud compute tpus tpu-vm scp "$archive" "$TPU:" --zone="$ZONE" --worker=all
    on all 'set -e
      command -v ~/.local/bin/uv > /dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
      mkdir -p gm_jax && tar -xzf gm_jax.tar.gz -C gm_jax && cd gm_jax
      test -d .venv || ~/.local/bin/uv venv --python 3.12 .venv
      ~/.local/bin/uv pip install --python .venv/bin/python -e ".[tpu,gcs]"'
    on all "mkdir -p \$HOME/tensorflow_datasets
      gcloud storage rsync --recursive $BUCKET/tensorflow_datasets \$HOME/tensorflow_datasets"
    ;;
  start)
    run=${2:?name of the run}
    flags=$(printf ' %q' "${@:3}")
    on all "cd gm_jax || exit 1; nohup .venv/bin/python experiments/main.py --workdir=$BUCKET/$run$flags \
      >> \$HOME/$run.log 2>&1 < /dev/null & echo \$! > \$HOME/$run.pid"
    ;;
  watch)
    on 0 "tail -n 20 -F \$HOME/${2:?name of the run}.log"
    ;;
  stop)  # one host is told; all save the same step, and end
    on 0 "kill -TERM \$(cat \$HOME/${2:?name of the run}.pid)"
    ;;
  delete)
    "${queue[@]}" delete "$TPU" --zone="$ZONE" --force --quiet
    "${queue[@]}" list --zone="$ZONE"
    gcloud compute tpus tpu-vm list --zone="$ZONE"
    ;;
  *)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
