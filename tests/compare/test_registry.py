"""The registry: every name makes the measure it says, with the settings given."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from semconv import InputError
from semconv.compare import (
    CKA,
    MEASURES,
    PWCCA,
    RSA,
    SVCCA,
    MeanSquaredCC,
    MutualKNN,
    Procrustes,
    make_measures,
    registry,
)
from tests._helpers.spaces import spaces

WANTED = {
    "svcca_pc1": SVCCA("pc1"),
    "svcca_variance": SVCCA("variance", threshold=0.8),
    "svcca_fixed_k": SVCCA("fixed_k", k=4),
    "pwcca": PWCCA(),
    "mean_squared_cc": MeanSquaredCC(),
    "rsa": RSA(),
    "rsa_cosine": RSA(rdm="cosine"),
    "rsa_kendall": RSA(rank="kendall"),
    "cka": CKA(),
    "cka_unbiased": CKA(unbiased=True),
    "procrustes": Procrustes(),
    "mutual_knn": MutualKNN(3),
}


@pytest.mark.parametrize("name", list(MEASURES))
def test_every_name_makes_its_measure_with_its_settings(name: str):
    measure = make_measures([name], svcca_threshold=0.8, svcca_k=4, knn_k=3)[0]
    assert measure == WANTED[name]
    assert measure.name == name
    X, Y = spaces(n=60, latent=3, d_x=5, d_y=6)
    score = measure.score(measure.prepare(X), measure.prepare(Y))
    assert -1 <= score <= 1
    assert np.isfinite(score)


def test_every_measure_is_in_the_registry_once():
    folder = Path(registry.__file__).parent
    classes = {c for path in folder.glob("*.py") for c in re.findall(r"(?m)^class (\w+)\(Measure\[", path.read_text())}
    assert classes == {type(measure).__name__ for measure in WANTED.values()}
    assert set(WANTED) == set(MEASURES)
    assert len(set(MEASURES.values())) == len(MEASURES)


def test_measures_come_in_the_order_given():
    assert [m.name for m in make_measures(["rsa", "cka", "svcca_pc1"])] == ["rsa", "cka", "svcca_pc1"]
    assert make_measures([]) == []


def test_what_is_not_known_is_refused():
    with pytest.raises(InputError, match="unknown measure 'rsaa'; known are svcca_pc1, "):
        make_measures(["rsa", "rsaa"])
    with pytest.raises(InputError, match="k of at least 1, got 0"):
        make_measures(["mutual_knn"], knn_k=0)
