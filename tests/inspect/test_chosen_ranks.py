"""Ranks of queries from spectra with known numbers, spectra of a model, and the file between them."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pgolf.errors import OptionError, PgolfError
from pgolf.inspect.query_spectra import query_spectra
from pgolf.inspect.ranks import (
    QUERY_SPECTRA,
    QuerySpectra,
    chosen_ranks,
    factor_parameters,
    kept_energies,
    ranks_for,
    read_query_spectra,
)
from pgolf.inspect.truncate import input_moments, query_maps
from tiny import random_ids, tiny_config, tiny_model

IDS = random_ids(4, 16)
STEEP, FLAT = (2.0, 1.0, 1.0, 1.0), (0.01, 0.0, 0.01, 0.0)  # shares of the energy: 4/7, 1/7 ..; 1/2, 1/2, 0, 0
KNOWN = QuerySpectra(4, "live", 64, weight=(STEEP, FLAT), activation=(FLAT, STEEP))


def saved(folder: Path, **changes: Any) -> str:
    """The path of a file with the known spectra, or with others."""
    (folder / QUERY_SPECTRA).write_text(json.dumps({**asdict(KNOWN), **changes}))
    return str(folder / QUERY_SPECTRA)


def test_ranks_of_known_spectra() -> None:
    assert chosen_ranks(KNOWN, "weight", energy=0.5) == [1, 1]
    assert chosen_ranks(KNOWN, "weight", energy=0.8) == [3, 2]
    assert chosen_ranks(KNOWN, "activation", energy=0.8) == [2, 3]
    assert kept_energies(KNOWN.weight, [3, 2]) == pytest.approx([6 / 7, 1])


def test_a_budget_is_shared_by_shares_of_each_block_and_not_by_its_scale() -> None:
    """The second block has 1/35,000 of the energy of the first, and takes the second rank that can be afforded."""
    budget = factor_parameters([2, 1], 4)
    assert budget == 24
    assert chosen_ranks(KNOWN, "weight", parameters=budget) == [1, 2]
    assert chosen_ranks(KNOWN, "weight", parameters=10**6) == [4, 4]


@pytest.mark.parametrize(
    ("by", "rule", "message"),
    [
        ("weights", {"energy": 0.5}, "by: cannot be 'weights'; choose activation or weight"),
        ("weight", {"energy": 1.5}, r"energy: cannot be 1\.5; choose above 0 and at most 1"),
        ("weight", {"parameters": 15}, "parameters: cannot be 15; choose 16 or more"),
    ],
)
def test_what_cannot_be_chosen_is_named(by: str, rule: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        chosen_ranks(KNOWN, by, **rule)
    with pytest.raises(OptionError, match="no activations, for lack of a corpus"):
        chosen_ranks(replace(KNOWN, activation=()), "activation", energy=0.5)


def test_spectra_are_read_from_a_file_or_its_folder_as_they_were_written(tmp_path: Path) -> None:
    KNOWN.save(tmp_path / QUERY_SPECTRA)
    for path in (tmp_path, tmp_path / QUERY_SPECTRA):
        assert read_query_spectra(str(path)) == KNOWN
    assert ranks_for(str(tmp_path), "weight", 2, 4, energy=0.8) == [3, 2]
    for blocks, width, message in (
        (3, 4, r"unique blocks 2, and model\.unique_blocks is 3\. Inspect such a run"),
        (2, 8, r"width 4, and model\.width is 8"),
    ):
        with pytest.raises(PgolfError, match=message):
            ranks_for(str(tmp_path), "weight", blocks, width, energy=0.8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": [[1.0, 1e300]]}, "needs a number from -1e"),
        ({"weight": [[1.0, float("nan")]]}, "it holds NaN"),
        ({"weight": [[1.0], [-1.0]]}, r"give finite singular values of at least 0"),
        ({"activation": [[1.0], [0.0]]}, r"not all of them zero"),
        ({"activation": [[1.0]]}, "activation holds 1 blocks, weight 2"),
        ({"weight": []}, "weight holds no block"),
        ({"weight": [[1.0] * 5, [1.0]]}, "a block has 5 singular values, the width is 4"),
        ({"weight": [["1"], [1.0]]}, r"weight\[0\]\[0\] needs a number \('1'\)"),
        ({"width": "os.getcwd()"}, "width needs a whole number"),
        ({"_target_": "os.system"}, "_target_ is not a field of it"),
    ],
)
def test_a_damaged_file_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = saved(tmp_path, **changes)
    with pytest.raises(PgolfError, match=rf"query_spectra\.json: .*{message}.* Write it with python -m pgolf.inspect"):
        read_query_spectra(path)


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PgolfError, match=r"query_spectra\.json: does not exist or cannot be read\. Write it with "):
        read_query_spectra(str(tmp_path))
    with (tmp_path / QUERY_SPECTRA).open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(PgolfError, match=r"query_spectra\.json: it has 1,073,741,824 bytes; at most"):
        read_query_spectra(str(tmp_path))


@pytest.mark.parametrize(
    ("overrides", "ranks"),
    [
        ((), [32, 32, 32]),
        (("model/q_proj=adaptive", "model.q_proj.ranks=[3,9]", "model.layers=4", "model.unique_blocks=2"), [3, 9]),
    ],
)
def test_spectra_of_a_model_are_those_of_its_formed_matrices(overrides: tuple[str, ...], ranks: list[int]) -> None:
    """Of W, and of W C^(1/2) by the eigenvalues of W C W^T; a product has no more of them than its inner size."""
    model = tiny_model(tiny_config(*overrides))
    found = query_spectra(model, "live", [IDS])
    assert (found.width, found.tokens) == (32, IDS.numel())
    assert [len(spectrum) for spectrum in found.weight] == [len(s) for s in found.activation] == ranks
    for w, c, own, weighted in zip(
        query_maps(model), input_moments(model, [IDS]), found.weight, found.activation, strict=True
    ):
        for values, expected in ((own, torch.linalg.svdvals(w) ** 2), (weighted, torch.linalg.eigvalsh(w @ c @ w.T))):
            largest = expected.sort(descending=True).values[: len(values)]
            torch.testing.assert_close(torch.tensor(values).double() ** 2, largest, rtol=1e-4, atol=1e-7)
    assert query_spectra(model, "live", []) == replace(found, tokens=0, activation=())


def test_queries_without_ranks_are_refused() -> None:
    normed = tiny_model(tiny_config("model/q_proj=low_rank", "model.q_proj.norm=true"))
    with pytest.raises(PgolfError, match=r"q_proj\.0: is not a linear map \(LowRank\).* without a norm between"):
        query_spectra(normed, "live", [])
    for value, scale, message in (
        (0.0, 1.0, "is zero, so it has no energy"),
        (3e38, 1.0, "its outputs are not finite"),
        (1.0, float("nan"), "its inputs are not finite"),
        (1.0, 1e30, "makes queries of zero"),  # a norm divides the stream by the root of its overflowing squares
    ):
        model = tiny_model(tiny_config("model/depth=plain"))
        with torch.no_grad():
            model.q_proj[1].proj.weight.fill_(value)
            model.gains[0].attn_scale.fill_(scale)
        with pytest.raises(PgolfError, match=rf"model\.q_proj\.1: {message}"):
            query_spectra(model, "live", [IDS])
