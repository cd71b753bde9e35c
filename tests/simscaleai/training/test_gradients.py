from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from simscaleai.training.config import TrainConfig
from simscaleai.training.trainer import train

SMALL_VLA = ("embed_dim=16", "num_heads=2", "num_layers=1", "patch_size=8", "lang_num_layers=1", "dropout=0.1")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
@pytest.mark.parametrize("head", ["mlp", "diffusion"])
def test_a_recorded_step_trains_like_a_plain_one(tmp_path: Path, make_needs: Any, make_dataset: Any, head: str) -> None:
    dataset = make_dataset(tmp_path / "data", make_needs(cameras=("front", "wrist"), size=16), episodes=8)
    losses = []
    for cuda_graph in (False, True):
        config = TrainConfig(
            model="vla",
            model_arguments=(*SMALL_VLA, "dropout=0", f"action_head_type={head}"),
            dataset=(dataset,),
            output=tmp_path / str(cuda_graph),
            steps=30,
            batch_size=8,
            warmup_steps=2,
            device="cuda",
            cuda_graph=cuda_graph,
        )
        result = train(config)
        assert result.finished
        losses.append(result.validation_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
