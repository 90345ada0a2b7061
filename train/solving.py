"""The training of a head without steps: its weights are solved for on the training part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import Ridge

from ..errors import DataError
from ..itin_head import make
from ..itin_head.ensemble import Partnered
from ..itin_head.head import Head, Inputs
from ..itin_head.outputs import predicted, scaled
from ..itin_head.solved import Lesson, SolvedHead, outputs_of
from ..targets import Target
from .config import STEPS, TrainConfig, shown_scores
from .features.batches import ResidentFeatures
from .features.features import Features, TargetColumn
from .label_rule import decided
from .lexicons.registry import columns_of
from .lexicons.values import values_of_names
from .protocols.split import Split
from .scoring import Scorer
from .steps import ComputeOptions, Training, chunks, predict, taught_by

GRID = (0.1, 0.3, 1.0, 3.0, 10.0)
"""The values of C that are tried in turn, as long as the validation loss falls."""

NEVER = -20.0
"""z of a class that no sample of the training part has."""

MOST_ITERATIONS = 5000
"""Iterations of the solver, which ends far earlier on texts and features."""

TOLERANCE = 1e-4
"""The largest slope at the solution, of the mean loss with its penalty: scikit-learn's default."""


OFTEN = 0.2
"""The share of the samples above which a column is multiplied as a dense one."""


class Solving:
    """A head and its solution, by the names that `loop.train` knows from `steps.Training`; the one epoch solves.

    Each target has rows of its own and is solved for by itself, on the samples of the training part that have a value
    for it: classes and ordered classes by logistic regression, numbers by ridge regression. Where the recipe leaves C
    open it is the first of `GRID` after which the validation loss no longer falls.

    Args:
        config: the recipe, of a head that is solved for.
        features: with texts.
        split: the parts of these features.

    Raises:
        DataError: the features have no texts.
    """

    def __init__(self, config: TrainConfig, features: Features, split: Split) -> None:
        if features.texts is None:
            raise DataError(
                f"the table of {features.dataset or 'this data set'} has no texts, which the head {config.head} reads",
                expected="a column text",
                found="none",
                next_step="run `itin extract` for this data set again, or train another head",
            )
        defaults = {field.name: field.default for field in fields(TrainConfig)}
        self.batch_size = config.batch_for(features.dataset)
        unread = {name: defaults[name] for name in STEPS} | {"epochs": 1, "batch_size": self.batch_size}
        self.config = replace(config, **unread)  # type: ignore[arg-type]
        self.configs = [self.config]
        self.compute = ComputeOptions()
        self.batches = 1
        columns = [features.column(name) for name in config.targets]
        self.targets = [column.target for column in columns]
        self.scorers = [Scorer(column, split.train, config.loss) for column in columns]
        outputs = sum(target.outputs for target in self.targets)
        head = make(config.head_config({**features.dims, "classes": outputs}))
        if not isinstance(head, SolvedHead):
            raise ValueError(f"head: expected one that is solved for, got {config.head}")
        self.resident = ResidentFeatures(
            features,
            torch.device("cpu"),
            config.regions,
            config.max_words,
            config.targets,
            config.averages,
            config.lexicon_names,
            uses=head.config.uses,
        )
        self.head = head
        self.heads = [head]
        self.chosen: dict[str, float] = {}
        """C by target."""
        self._columns, self._features, self._split = columns, features, split

    def epoch(self, number: int) -> tuple[list[float], list[float]]:
        """Solve; return loss and score of the first target in the training part, each in a list of one."""
        train, val = self._split.train, self._split.val
        texts = self._features.texts or []
        named = self._features.named if "attributes" in self.head.config.uses else None
        names = {} if named is None else named.names
        self.head.learn(
            Lesson(
                [texts[row] for row in train],
                self.targets,
                columns_of(self.config.lexicon_names),
                names,
                {kind: values_of_names(each) for kind, each in names.items()},
            )
        )
        self.head.scale(self._batches(train))
        X, X_val = self._matrix(train), self._matrix(val)
        begin = 0
        for column, scorer in zip(self._columns, self.scorers, strict=True):
            solution = self._solution(column, scorer, X, X_val)
            rows = slice(begin, begin + len(solution.b))
            self.head.weight[rows], self.head.bias[rows] = map(torch.from_numpy, solution)
            begin = rows.stop
        first = self.scorers[0]
        known = first.column.known[train]
        said = decided(predicted(self.head.outputs(X[known]), self.targets), self.config.label_from)
        scores = first(train[known], said[first.target.name])
        return [scores["loss"]], [scores[shown_scores(first.target.is_number)[0]]]

    def predicted(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return what the head says of some samples, as `steps.Training.predicted` with J = 1."""
        said = predict(self.head, self.resident, rows, self.batch_size, self.targets)
        return {name: each[None] for name, each in said.items()}

    def keep(self, j: int) -> None:
        """Do nothing: there is one solution."""

    @property
    def selected_by(self) -> str:
        """How the solution was selected, in words."""
        return "C as given" if self.config.logistic_c is not None else "C by lower validation loss, then the smaller C"

    def _solution(
        self, column: TargetColumn, scorer: Scorer, X: sparse.csr_matrix, X_val: sparse.csr_matrix
    ) -> Solution:
        """Return the solution of a target, and record its C."""
        target, given, val = column.target, self.config.logistic_c, self._split.val
        taught = taught_by(column, self._split.train)
        if taught.shares is None:
            rows = np.flatnonzero(taught.known)
            values, weight = taught.values[rows], np.ones(len(rows))
        else:  # a pair stands there once for each class that somebody named, with the share of those who did
            rows, values = np.nonzero(taught.shares)
            weight = taught.shares[rows, values]
        X = X[rows]
        columns = Columns.of(X)
        choose = given is None and bool(column.known[val].any())
        tried: list[tuple[float, float, Solution]] = []
        for C in GRID if choose else (given or 1.0,):
            before = tried[-1][2] if tried else None
            solution = solve(columns, values, weight, target, C, self.config.class_weights == "balanced", before)
            z = X_val @ solution.W.T + solution.b
            said = predicted(outputs_of(z, [(target.kind, len(solution.b))]), [target])[target.name]
            tried.append((scorer(val, said)["loss"] if choose else 0.0, C, solution))
            if len(tried) > 1 and tried[-1][0] >= tried[-2][0]:
                break
        _, self.chosen[target.name], solution = min(tried, key=lambda one: one[0])
        return solution

    def _matrix(self, rows: NDArray[np.int64]) -> sparse.csr_matrix:
        return sparse.vstack([self.head.matrix(batch) for batch in self._batches(rows)], format="csr")

    def _batches(self, rows: NDArray[np.int64]) -> Iterator[Inputs]:
        return (self.resident.batch(some).inputs for some in chunks(torch.from_numpy(rows), self.batch_size))


class Partnership:
    """J trained heads with one partner, by the names that `loop.train` knows from `steps.Training`.

    The first epoch solves for the partner before its steps. Losses and scores of the training part are those of the
    trained heads alone; all else is the mean of both.

    Args:
        trained: the heads that are trained.
        partner: their partner, on the same features and parts.
    """

    selected_by = ""

    def __init__(self, trained: Training, partner: Solving) -> None:
        self.trained, self.partner = trained, partner
        self.configs, self.compute, self.batches = trained.configs, trained.compute, trained.batches
        self.targets, self.resident, self.batch_size = trained.targets, trained.resident, trained.batch_size
        self.chosen = partner.chosen
        self._said: dict[bytes, dict[str, NDArray[np.float64]]] = {}

    @property
    def heads(self) -> list[Head]:
        """The heads that are kept, each with the partner."""
        return [Partnered(head, self.partner.head, self.targets) for head in self.trained.heads]

    def epoch(self, number: int) -> tuple[list[float], list[float]]:
        """Pass over the training part once, as `steps.Training.epoch`."""
        if number == 1:
            self.partner.epoch(1)
        return self.trained.epoch(number)

    def predicted(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return the mean of what both say, as `steps.Training.predicted`."""
        own = self._said.get(rows.tobytes())  # the partner says the same in each epoch
        if own is None:
            own = self._said[rows.tobytes()] = self.partner.predicted(rows)
        return {name: (each + own[name]) / 2 for name, each in self.trained.predicted(rows).items()}

    def keep(self, j: int) -> None:
        """Keep the present weights of configuration j."""
        self.trained.keep(j)


class Solution(NamedTuple):
    """The weights of one target."""

    W: NDArray[np.float64]
    """(rows, columns)."""
    b: NDArray[np.float64]
    """(rows,)."""


class Columns(NamedTuple):
    """X (N, columns) in two: columns that few samples have, such as most n-grams; then those that are mostly there."""

    order: NDArray[np.int64]
    """(columns,), which columns of X these are."""
    few: sparse.csr_matrix
    turned: sparse.csr_matrix
    """The transpose of `few`."""
    dense: NDArray[np.float64]

    @classmethod
    def of(cls, X: sparse.csr_matrix) -> Columns:
        """Return the columns of X."""
        often = X.getnnz(0) > OFTEN * X.shape[0]
        rare, common = np.flatnonzero(~often), np.flatnonzero(often)
        few = X[:, rare].tocsr()
        dense = np.ascontiguousarray(X[:, common].toarray())
        return cls(np.concatenate([rare, common]), few, few.T.tocsr(), dense)

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and columns."""
        return len(self.dense), len(self.order)

    def times(self, W: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return X Wᵀ (N, rows) of W (rows, columns)."""
        count = self.few.shape[1]
        z: NDArray[np.float64] = self.few @ np.ascontiguousarray(W[:, :count].T) + self.dense @ W[:, count:].T
        return z

    def back(self, R: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return Rᵀ X (rows, columns) of R (N, rows)."""
        return np.hstack([(self.turned @ R).T, R.T @ self.dense])


def solve(
    X: Columns,
    values: NDArray[Any],
    weight: NDArray[np.float64],
    target: Target,
    C: float,
    balanced: bool,
    begin: Solution | None = None,
) -> Solution:
    """Solve for a target's weights.

    Args:
        X: (N, columns), N > 0.
        values: (N,) class numbers, or numbers in units.
        weight: (N,), how much each sample counts.
        target: the target.
        C: scikit-learn's C of the logistic regression; a ridge regression has alpha = 1 / C.
        balanced: whether rare classes count as much as frequent ones.
        begin: where the logistic regression begins, such as the solution of another C; by default at zero.
    """
    if target.is_number:
        y = scaled(target, values)
        if not X.shape[1]:
            return Solution(np.zeros((1, 0)), np.average(y, weights=weight, keepdims=True))
        whole = sparse.hstack([X.few, sparse.csr_matrix(X.dense)], format="csr")
        ridge = Ridge(alpha=1 / C, solver="sparse_cg", tol=1e-8).fit(whole, y, weight)
        return Solution(ridge.coef_[None, np.argsort(X.order)], np.array([ridge.intercept_]))
    W, b = np.zeros((len(target.classes), X.shape[1])), np.full(len(target.classes), NEVER)
    counts = np.bincount(values, weight, len(target.classes))
    there = np.flatnonzero(counts)
    if len(there) == 1 or not X.shape[1]:
        b[there] = np.log(counts[there] / counts.sum())
        return Solution(W, b)
    if balanced:
        weight = weight * (counts.sum() / (len(there) * counts[values]))
    own = there[1:] if len(there) == 2 else there  # of two classes scikit-learn keeps the second's weights alone
    b[there] = 0
    first = np.zeros((len(own), X.shape[1] + 1)) if begin is None else np.c_[begin.W[own][:, X.order], begin.b[own]]
    found = logistic(X, np.searchsorted(there, values), weight, len(there), C, first)
    W[np.ix_(own, X.order)], b[own] = found[:, :-1], found[:, -1]
    return Solution(W, b)


def logistic(
    X: Columns,
    values: NDArray[np.int64],
    weight: NDArray[np.float64],
    classes: int,
    C: float,
    begin: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the weights of a logistic regression, scikit-learn's objective: of all classes, or of the second of two.

    `LogisticRegression` takes three times as long: it has no form for columns of which some are dense.

    Args:
        X: (N, columns).
        values: (N,) class numbers.
        weight: (N,), how much each sample counts.
        classes: their number.
        C: the inverse of the penalty.
        begin: (rows, columns + 1), where to begin, the intercept behind the columns.
    """
    rows = len(begin)
    true = np.zeros((len(values), classes))
    true[np.arange(len(values)), values] = weight
    total = weight.sum()

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        W, b = flat.reshape(rows, -1)[:, :-1], flat.reshape(rows, -1)[:, -1]
        z = np.zeros((len(values), classes))
        z[:, classes - rows :] = X.times(W) + b
        logarithms = log_softmax(z, 1)
        away = (np.exp(logarithms) * weight[:, None] - true)[:, classes - rows :] / total
        slope = np.c_[X.back(away) + W / (C * total), away.sum(0)]
        return -(true * logarithms).sum() / total + np.square(W).sum() / (2 * C * total), slope.ravel()

    options = {"maxiter": MOST_ITERATIONS, "gtol": TOLERANCE, "ftol": 64 * np.finfo(np.float64).eps, "maxls": 50}
    found = minimize(objective, begin.ravel(), jac=True, method="L-BFGS-B", options=options)
    weights: NDArray[np.float64] = found.x.reshape(rows, -1)
    return weights
