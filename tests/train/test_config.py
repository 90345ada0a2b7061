"""The recipe: its defaults, its checks, and what it makes of m = 0."""

from __future__ import annotations

import subprocess
import sys

import pytest

from itin.itin_head import HeadConfig
from itin.train.config import TrainConfig


def test_defaults_are_the_papers() -> None:
    config = TrainConfig()
    assert (config.m, config.lam) == (2, 0.2)
    assert (config.lr, config.lr_step, config.lr_gamma, config.weight_decay) == (1e-3, 10, 0.1, 1e-5)
    assert config.head_config({}) == HeadConfig()
    assert config.batch_for("mvsa-single") == config.batch_for("folder-1234") == 64
    assert config.batch_for("mvsa-multiple") == 128
    assert TrainConfig(batch_size=7).batch_for("mvsa-multiple") == 7
    assert not config.keep_special


def test_learning_rate_falls_every_ten_epochs() -> None:
    config = TrainConfig()
    rates = [config.lr_at(epoch) for epoch in (1, 10, 11, 20, 21, 30)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5], rel=1e-12)


def test_head_takes_the_features_sizes() -> None:
    head = TrainConfig(lam=0.5, gate="vector", ablation="no-align", d=8, k=4, hidden=3).head_config(
        {"region_dim": 5, "token_dim": 6, "context_dim": 7}
    )
    assert head == HeadConfig(
        region_dim=5, token_dim=6, context_dim=7, d=8, k=4, hidden=3, lam=0.5, gate="vector", ablation="no-align"
    )


@pytest.mark.parametrize("ablation", ["none", "no-align", "no-gate", "only-context"])
def test_no_regions_leave_only_context(ablation: str) -> None:
    config = TrainConfig(m=0, ablation=ablation)
    assert config.effective_ablation == config.head_config({}).ablation == "only-context"
    assert config.regions == 0
    assert TrainConfig(m=2, ablation="only-context").regions == 0
    assert TrainConfig(m=2, ablation="no-gate").regions == 2


def test_nothing_left_is_refused() -> None:
    with pytest.raises(ValueError, match="m: 0 leaves no region, and the ablation no-context no context"):
        TrainConfig(m=0, ablation="no-context")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("m", -1, "m: expected an integer of at least 0, got -1"),
        ("m", 2.0, "m: expected an integer of at least 0, got 2.0"),
        ("epochs", 0, "epochs: expected an integer of at least 1, got 0"),
        ("lr_step", True, "lr_step: expected an integer of at least 1, got True"),
        ("batch_size", 0, "batch_size: expected an integer of at least 1 or None, got 0"),
        ("seed", -1, "seed: expected an integer from 0 to 4294967295, got -1"),
        ("split_seed", 2**32, "split_seed: expected an integer from 0 to 4294967295, got 4294967296"),
        ("lr", 0, "lr: expected a number above 0, got 0"),
        ("lr", float("nan"), "lr: expected a number above 0, got nan"),
        ("lr_gamma", "x", "lr_gamma: expected a number above 0, got 'x'"),
        ("weight_decay", -1e-5, "weight_decay: expected a number of at least 0, got -1e-05"),
        ("keep_special", 1, "keep_special: expected True or False, got 1"),
        ("lam", 2, "lam: expected a number from 0 to 1, got 2"),
        ("gate", "x", "gate: expected one of scalar, vector, got 'x'"),
        ("d", 0, "d: expected an integer of at least 1, got 0"),
    ],
)
def test_wrong_values_are_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        TrainConfig(**{field: value})  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize("m", [0, 2])
def test_unknown_ablation_is_refused(m: int) -> None:
    with pytest.raises(ValueError, match=r"ablation: expected one of none, .*, got 'no_gate'"):
        TrainConfig(m=m, ablation="no_gate")


def test_round_trip() -> None:
    config = TrainConfig(m=5, lam=0.7, batch_size=9, keep_special=True)
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert TrainConfig.from_dict({}) == TrainConfig()
    with pytest.raises(ValueError, match="unknown fields: optimiser, tricks"):
        TrainConfig.from_dict({"tricks": 1, "optimiser": 2})


def test_columns_stay_in_their_order() -> None:
    """Of results.csv and config.json, by which old and new ones are put together."""
    assert " ".join(TrainConfig().to_dict()) == (
        "head m lam gate ablation d k hidden normalize self_attention fusion_bias pooling_heads gru_layers gru_dropout "
        "context_gru mask max_words hops filters pooling dropout word_ngrams char_ngrams means_scale lexicon_scale "
        "lexical word_dropout scene keep_special center_crop lexicons target target_weights loss label_from select lr "
        "optimizer schedule warmup lr_step lr_gamma weight_decay clip ema class_weights label_smoothing mixup "
        "logistic_c batch_size epochs patience seed ensemble partner split_seed fold train_share"
    )
    assert " ".join(HeadConfig().to_dict()) == (
        "head region_dim token_dim context_dim classes d k hidden lam gate ablation normalize self_attention "
        "fusion_bias pooling_heads gru_layers gru_dropout context_gru mask max_words hops filters pooling dropout "
        "word_ngrams char_ngrams means_scale lexicon_scale lexical word_dropout scene lexicon_values entries "
        "objects attributes sentence_ends scene_dim"
    )


def test_recipe_and_splits_need_no_torch() -> None:
    code = "import sys; import itin.train.config, itin.train.protocols.split; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd="/").returncode == 0


def test_run_folders_are_read_without_torch() -> None:
    code = "import sys; import itin.train.runs.folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd="/").returncode == 0
