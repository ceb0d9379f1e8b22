#!/usr/bin/env bash
# What a container of `xpk.sh` runs: BUCKET FLAGS…; copies the prepared data, then starts the command.
set -euo pipefail
cd "$(dirname "$0")/../.."

export TFDS_DATA_DIR=/tmp/tensorflow_datasets GM_JAX_CACHE=/tmp/gm_jax
python - "$1/tensorflow_datasets" "$TFDS_DATA_DIR" <<'PYTHON'
import sys

import gcsfs

gcsfs.GCSFileSystem().get(sys.argv[1], sys.argv[2], recursive=True)
PYTHON
exec python experiments/main.py "${@:2}"  # exec: signals reach the command
