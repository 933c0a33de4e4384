"""The digests that a GPU is checked against are what the CPU gives here."""

from __future__ import annotations

import json

import pytest
import torch

from tests.cuda.digests import PATH, cases, digest


@pytest.mark.slow
def test_the_shipped_digests_are_the_cpus():
    assert {name: digest(tuple(call())) for name, call in cases("cpu")} == json.loads(PATH.read_text())


def test_a_digest_sees_one_bit_and_no_difference_between_nans():
    x = torch.tensor([1.0, float("nan")], dtype=torch.float64)
    other_nan = torch.tensor([0x3FF0000000000000, 0x7FF8000000000001]).view(torch.float64)
    assert digest((x,)) == digest((other_nan,))
    assert digest((x,)) != digest((x.nextafter(torch.tensor(2.0, dtype=torch.float64)),))
    assert digest((x,)) != digest((x.float(),))
