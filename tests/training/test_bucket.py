"""A run in a bucket: the real clients, and a server on this machine that answers them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from tests.training.bucket import serve

pytest.importorskip("gcsfs", reason="pip install -e '.[test]' brings it")
ROOT = Path(__file__).resolve().parents[2]


def train(bucket, steps):
    environment = (
        os.environ
        | bucket.environment
        | {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        }
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.toy",
            "--config=tests/toy.py",
            "--workdir=gs://bucket/run",
            f"--config.train.steps={steps}",
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_run_in_a_bucket_resumes_past_a_damaged_checkpoint():
    with serve() as bucket:
        train(bucket, 2)
        assert json.loads(bucket.objects["run/test.json"][1])["step"] == 2
        arrays = [name for name in bucket.objects if name.startswith("run/checkpoints/2/state")]
        largest = max(arrays, key=lambda name: len(bucket.objects[name][1]))
        bucket.store(largest, bucket.objects[largest][1][:100], None)
        assert "run/checkpoints/2 cannot be read and is stepped over" in train(bucket, 3)
        names = set(bucket.objects)
        assert "run/damaged_checkpoints/2-1/state/_METADATA" in names
        assert {
            "run/checkpoints/2/commit_success.txt",
            "run/checkpoints/3/commit_success.txt",
        } < names
        lines = [json.loads(line) for line in bucket.objects["run/metrics.jsonl"][1].splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
        assert any(name.startswith("run/tensorboard/events") for name in names)
        assert not (ROOT / "gs:").exists()
