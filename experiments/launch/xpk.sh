#!/usr/bin/env bash
# A run on TPUs of a Kubernetes cluster (GKE), by xpk; docs/pods.md goes through it.
#
#   export PROJECT=my-project CLUSTER=my-cluster ZONE=us-central2-b TYPE=v4-32 BUCKET=gs://my-bucket
#   experiments/launch/xpk.sh create | image | start RUN FLAGS… | watch | stop RUN | delete
#
# PROVISIONING is what `create` asks for: --spot (default), --on-demand or --reservation=NAME.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${PROJECT:?}" "${CLUSTER:?}" "${ZONE:?}" "${BUCKET:?gs://… of data and runs}"
type=${TYPE:-v4-32}
image=gcr.io/$PROJECT/gm_jax:$(git rev-parse --short HEAD)
where=(--cluster="$CLUSTER" --project="$PROJECT" --zone="$ZONE")

case ${1:-} in
  create)
    xpk cluster create "${where[@]}" --tpu-type="$type" --num-slices=1 "${PROVISIONING:---spot}"
    ;;
  image)  # Python 3.12, the code of HEAD and its packages
    git archive HEAD | docker build -f experiments/launch/Dockerfile -t "$image" -
    docker push "$image"
    ;;
  start)
    run=${2:?name of the run, in small letters, digits and -}
    flags=$(printf ' %q' "${@:3}")
    xpk workload create "${where[@]}" --tpu-type="$type" --num-slices=1 --workload="$run" \
      --docker-image="$image" \
      --command="experiments/launch/in_container.sh $BUCKET --workdir=$BUCKET/$run$flags"
    ;;
  watch)
    xpk workload list "${where[@]}"
    ;;
  stop)
    xpk workload delete "${where[@]}" --workload="${2:?name of the run}"
    ;;
  delete)
    xpk cluster delete "${where[@]}"
    gcloud container clusters list --project="$PROJECT"
    ;;
  *)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
