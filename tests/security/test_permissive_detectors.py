"""Detectors under Apache-2.0 in place of those under AGPL-3.0: the real architectures, small and untrained."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from forge_resources.config import ForgeConfig
from forge_resources.models.selection import load_detector
from forge_resources.models.weights import sha256_of

SIZES: dict[str, Any] = {
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [16, 32, 64],
    "encoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "d_model": 32,
    "num_queries": 20,
    "decoder_in_channels": [32, 32, 32],
    "decoder_ffn_dim": 32,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "id2label": {0: "person", 1: "motorbike", 2: "tvmonitor"},
}


def rt_detr_v2() -> Any:
    from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 32, 64],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    return RTDetrV2ForObjectDetection(RTDetrV2Config(backbone_config=backbone, **SIZES))


def d_fine() -> Any:
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 16, 32],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 16, 32, 64],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 32, 64],
        depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )
    return DFineForObjectDetection(DFineConfig(backbone_config=backbone, **SIZES))


@pytest.mark.slow
@pytest.mark.parametrize("network", [rt_detr_v2, d_fine])
def test_a_configured_detector_under_apache_2_runs_without_ultralytics(
    network: Callable[[], Any], tmp_path: Path
) -> None:
    import torch
    from transformers import RTDetrImageProcessor

    torch.manual_seed(0)
    folder = tmp_path / "network"
    network().save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 96, "width": 96}).save_pretrained(folder)
    assert (folder / "model.safetensors").exists()

    weights = {"weights": str(folder), "sha256": sha256_of(folder), "score_floor": 0.0}
    models = {"detector": {"backend": "transformers", **weights}, "pose": {"backend": "none"}, "depth": []}
    detector = load_detector(ForgeConfig.model_validate({"models": models}))
    photo = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    (found,) = detector.detect([photo])
    assert len(found)
    assert set(found.categories) <= {"person", "motorcycle", "tv"}
    assert found.xyxy.min() >= 0
    assert detector.identity == f"transformers:network@sha256:{sha256_of(folder)[:12]}"


WITHOUT = """
import json, sys, yaml
from forge_resources.config import ForgeConfig
from forge_resources.models.selection import describe, load_detector, load_pose
config = ForgeConfig.model_validate(yaml.safe_load(sys.argv[1]))
describe(config)
load_detector(config), load_pose(config)
print(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] == "ultralytics")))
"""


@pytest.mark.slow
def test_no_module_of_ultralytics_is_imported_where_no_network_is_of_it() -> None:
    models = {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": []}
    command = [sys.executable, "-c", WITHOUT, yaml.safe_dump({"models": models})]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
