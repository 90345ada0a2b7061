"""Published scores, as given in the papers; `PAPER` is the one that itin reproduces.

Zhu, Li, Yang, Zhao, Liu, Qian: Multimodal Sentiment Analysis With Image-Text Interaction Network, IEEE Transactions on
Multimedia 25 (2023), doi 10.1109/TMM.2022.3160060.
"""

from __future__ import annotations

from typing import NamedTuple

PAPER = "Zhu et al., IEEE TMM 25 (2023), doi 10.1109/TMM.2022.3160060"

DATASETS = {"mvsa-single": "MVSA-Single", "mvsa-multiple": "MVSA-Multiple"}
"""The data sets of the paper with their names in it."""


class Score(NamedTuple):
    """The scores of one method, as fractions of 1; None where the paper gives none."""

    accuracy: float | None
    f1: float | None


TABLE_1 = {
    "mvsa-single": {"positive": 2683, "neutral": 470, "negative": 1358},
    "mvsa-multiple": {"positive": 11318, "neutral": 4408, "negative": 1298},
}
"""Table I: pairs per class, after the label rule and without unreadable ones."""

TABLE_2: dict[str, dict[str, Score]] = {
    "mvsa-single": {
        "SentiBank&SentiStrength": Score(0.5205, 0.5008),
        "CNN-Multi": Score(0.6120, 0.5837),
        "DNN-LR": Score(0.6142, 0.6103),
        "HSAN": Score(None, 0.6690),
        "MultiSentiNet": Score(0.6984, 0.6963),
        "CoMN": Score(0.7051, 0.7001),
        "MVAN": Score(0.7298, 0.7298),
        "ITIN": Score(0.7519, 0.7497),
    },
    "mvsa-multiple": {
        "SentiBank&SentiStrength": Score(0.6562, 0.5536),
        "CNN-Multi": Score(0.6639, 0.6419),
        "DNN-LR": Score(0.6786, 0.6633),
        "HSAN": Score(None, 0.6776),
        "MultiSentiNet": Score(0.6886, 0.6811),
        "CoMN": Score(0.6992, 0.6983),
        "MVAN": Score(0.7236, 0.7230),
        "ITIN": Score(0.7352, 0.7349),
    },
}
"""Table II: the systems in the paper's order."""

ELSEWHERE: dict[str, dict[str, Score]] = {
    "mvsa-single": {"MultiSentiNet": Score(None, 0.6984)},
    "mvsa-multiple": {"CoMN": Score(0.6892, 0.6883)},
}
"""Figures of the same systems that other papers give otherwise; None where they agree or give none."""

SYSTEMS = {
    "SentiBank&SentiStrength": "lexicon",
    "CNN-Multi": "cnn-multi",
    "DNN-LR": "dnn-lr",
    "HSAN": "hsan",
    "MultiSentiNet": "multisentinet",
    "CoMN": "comn",
    "MVAN": "mvan",
    "ITIN": "itin",
}
"""The head that is, or stands for, each system of Table II."""

TABLE_3: dict[str, dict[str, Score]] = {
    "mvsa-single": {
        "no-align": Score(0.7132, 0.7048),
        "no-gate": Score(0.7309, 0.7299),
        "no-context": Score(0.7331, 0.7320),
        "only-context": Score(0.7154, 0.7161),
        "none": Score(0.7519, 0.7497),
    },
    "mvsa-multiple": {
        "no-align": Score(0.7117, 0.7107),
        "no-gate": Score(0.7205, 0.7197),
        "no-context": Score(0.7217, 0.7209),
        "only-context": Score(0.7158, 0.7140),
        "none": Score(0.7352, 0.7349),
    },
}
"""Table III by itin's names of the ablations; `none` is the full model."""

NAMES = {
    "no-align": "w/o Align",
    "no-gate": "w/o Gating",
    "no-context": "w/o Context",
    "only-context": "only Context",
    "none": "ITIN",
}
"""The names of the rows of Table III."""

BEST_M, BEST_LAM = 2, 0.2
"""The optima of Figs. 5 and 6, which the paper chose."""
