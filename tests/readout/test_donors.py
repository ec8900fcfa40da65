"""The real test of letters to prior donors: what the page must say of it, held against independent answers."""

import csv
import gzip
from dataclasses import replace

import pytest
from cubes import folded, full_sums

from experiments.metrics.cube import make_cube
from experiments.metrics.estimates import returned_counts
from experiments.readout.readout import read_cube
from experiments.readout.verdict import share_pairs
from experiments.report import readout as report
from experiments.report.wording.verdict import worded_verdict
from experiments.sheet.sheet import changed
from experiments.stats.intervals import pooled_z

MATCHES = ("match_1to1", "match_2to1", "match_3to1")


@pytest.fixture(scope="module")
def cube(donor_sheet, shared_data):
    folder = shared_data / "x" / "y"  # the sheet's paths are relative to its own folder
    tables = {name: source | {"file": str(shared_data / "donor_match_offers.csv.gz")}
              for name, source in donor_sheet.model_dump()["tables"].items()}  # fmt: skip
    return make_cube(changed(donor_sheet, {"tables": tables}), folder)


@pytest.fixture(scope="module")
def readout(cube, donor_sheet):
    return read_cube(cube, donor_sheet)


def only(cube, stratum):
    """Return the cube of one stratum."""
    place = [cube.strata.index(stratum)]
    arrays = {name: array[:, place] for name, array in full_sums(cube).items()}
    return folded(replace(cube, strata=(stratum,)), arrays)


def counts(cube):
    return [returned_counts(cube, arms=[a], window_months=12) for a in range(len(cube.arms))]


def test_every_pair_after_holm_is_the_reference(readout, reference):
    wanted = reference["all"]["all_pairs_holm"]
    found = {frozenset((pair.a, pair.b)): pair for pair in readout.comparison.pairs_returned}
    assert len(found) == len(wanted) == 6
    for names, p in wanted.items():
        pair = found[frozenset(names.split(" vs "))]
        assert pair.p_holm == pytest.approx(p, rel=1e-9)
        assert pair.p == pytest.approx(reference["all"]["all_pairs_p"][names], rel=1e-9)


def test_of_the_dormant_any_match_helps_and_no_single_one_survives_holm(cube, reference):
    wanted = reference["dormant_flag"]
    dormant = only(cube, "1")
    control, *matches = counts(dormant)
    assert control == (wanted["arms"]["control"]["gave"]["x"], wanted["arms"]["control"]["gave"]["n"])
    together = tuple(map(sum, zip(*matches, strict=True)))
    assert pooled_z(*together, *control) == pytest.approx(0.020, abs=0.0005)
    pairs = share_pairs([control, *matches], names=("control", *MATCHES))
    assert all(pair.p_holm > 0.05 for pair in pairs)


def test_the_response_by_months_since_the_last_gift_is_the_reference(donor_sheet, shared_data, reference, tmp_path):
    wanted = reference["response_by_months_since_last_gift"]
    bounds = {name: tuple(int(part) for part in name.strip("(]").split(", ")) for name in wanted}
    with gzip.open(shared_data / "donor_match_offers.csv.gz", "rt") as file, (tmp_path / "a.csv").open("w") as out:
        writer = csv.writer(out)
        writer.writerow(["customer_id", "arm", "stratum", "gave", "amount"])
        for row in csv.DictReader(file):
            months = int(row["months_since_last_gift"])
            band = next((name for name, (low, high) in bounds.items() if low < months <= high), "unknown")
            writer.writerow([row["customer_id"], row["arm"], band, row["gave"], row["amount"] or "29.38"])
    tables = {"assignments": {"file": "a.csv"},
              "outcomes": {"file": "a.csv", "columns": {"returned": "gave", "value": "amount"}}}  # fmt: skip
    found = make_cube(changed(donor_sheet, {"tables": tables, "strata": ["months"]}), tmp_path)
    for name, answer in wanted.items():
        band = only(found, name)
        assert (int(band.returned.sum()), int(band.assigned.sum())) == (answer["x"], answer["n"])


def test_the_page_draws_the_right_conclusions_in_words(readout):
    verdict = str(report.verdict(readout))
    assert "not separable" in verdict
    assert "Choose" not in verdict
    segments = str(report.segments(readout))
    assert "is not shown to depend on dormant" in segments
    in_dormant = [cell for table in readout.targeting.tables for cell in table.cells if cell.segment == "1"]
    assert in_dormant
    assert all(cell.p_holm > 0.05 for cell in in_dormant)
    table = str(report.table(readout))
    assert "All offers together against the holdout" in table
    assert "no dates" in str(report.lifetime(readout))


def test_where_every_offer_loses_money_no_offer_is_called_profitable(readout):
    nets = {arm.label: arm.estimates["net"] for arm in readout.offers}
    assert all(net.high < 0 for net in nets.values())
    least = max(nets, key=lambda label: nets[label].value)
    assert (
        f"Every offer loses money: the least bad is {least} with a net per customer of −$"
        in worded_verdict(readout).detail
    )
    assert "profitable" not in worded_verdict(readout).detail


def test_when_the_company_pays_the_match_the_bigger_offer_buys_less(cube, donor_sheet):
    arms = donor_sheet.model_dump()["arms"]
    for ratio, name in enumerate(MATCHES, 1):
        arms[name]["value_share"] = ratio
    paid = read_cube(cube, changed(donor_sheet, {"arms": arms, "objective": "roi"}))
    assert paid.ranking.offers == MATCHES
    assert all(value < 0 for value in paid.ranking.values)
    assert paid.verdict.kind == "no_offer_better"


def test_the_policy_has_a_row_of_its_own(readout):
    assert "best offer by dormant" in str(report.table(readout))
