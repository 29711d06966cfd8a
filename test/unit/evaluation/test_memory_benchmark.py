import json
from dataclasses import asdict, replace

import pytest

from m3_ros.cli.bench_document import plain
from m3_ros.cli.bench_memory import Found, as_table
from m3_ros.errors import TrainingError
from m3_ros.evaluation import memory_ablation, memory_costs
from m3_ros.evaluation.feature_baselines import DistilSettings
from m3_ros.evaluation.memory_benchmark import METHODS, BenchSettings, benchmark_fidelity, prepare
from m3_ros.training.geometry_settings import GeometrySettings
from m3_ros.training.memory_stage import MemorySettings
from m3_ros.training.polish import PolishSettings

MEMORY = MemorySettings(query_dim=6, lift_width=80, max_components=32, polish=PolishSettings(steps=10))
SETTINGS = BenchSettings(
    dims=6, paper_steps=10, paper_rates=(0.1,), memory=MEMORY, distil=DistilSettings(10, 100, (0.02,)), paper_theta=0.8
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def measured(coloured_place, coloured_room, cache):
    return benchmark_fidelity(coloured_place, [coloured_room.encoder], SETTINGS, cache, lambda _: None)


def test_every_method_is_measured(measured):
    assert {row.method for row in measured.rows} == set(METHODS)
    assert all(0 <= row.cosine <= 2 and row.l2 >= 0 and row.bytes > 0 and row.seconds > 0 for row in measured.rows)


def test_baselines_take_no_more_bytes_than_ours(measured):
    ours = next(row for row in measured.rows if row.method == "learned").bytes
    matched = [row for row in measured.rows if row.matched == "bytes"]
    assert {row.method for row in matched} == {"f3dgs", "fsplat"}
    assert all(row.bytes <= ours for row in matched)
    assert {row.dims for row in measured.rows if row.matched == "dims"} == {6}


def test_memories_are_measured_in_both_orders(measured):
    orders = {row.order for row in measured.rows if row.method == "learned"}
    assert orders == {"blend, then decode", "decode, then blend"}


def test_the_papers_bank_is_chosen_by_its_algorithm(measured):
    assert {(b.method) for b in measured.banks} == {"paper", "cover"}


def test_what_was_measured_can_be_read_by_people_and_programs(measured):
    found = Found(seeds=(measured, replace(measured, seed=1)))
    table = as_table(found)
    assert "learned" in table
    assert "fsplat bytes" in table
    assert "+-" in table
    assert json.loads(json.dumps(plain(asdict(found)), allow_nan=False))["seeds"][0]["rows"]


def test_each_question_changes_one_thing():
    base = replace(MEMORY, keep_sums=False)
    for question in memory_ablation.QUESTIONS:
        names = [v.name for v in memory_ablation.variants(question, base, 3)]
        assert len(names) == len(set(names)) > 1
    dims = {v.settings.query_dim for v in memory_ablation.variants("dims", base, 1)}
    assert dims == {8, 16, 32, 64}
    assert [v.encoders for v in memory_ablation.variants("encoders", base, 3)] == [1, 2, 3]


def test_an_ablation_gives_a_row_a_variant(coloured_place, coloured_room, cache):
    encoders = [coloured_room.encoder, replace(coloured_room.encoder, name="other")]
    rows = memory_ablation.ablate(coloured_place, encoders, ["encoders"], MEMORY, cache, lambda _: None)
    assert [row.variant for row in rows] == ["1", "2"]
    assert rows[0].cosine == pytest.approx(rows[1].cosine, abs=0.02)  # encoders do not disturb each other
    assert "encoders" in as_table(Found(ablation=tuple(rows)))


def test_costs_are_measured_on_what_would_be_kept(coloured_place, coloured_room, cache):
    encoders = [coloured_room.encoder, replace(coloured_room.encoder, name="other")]
    found = Found(
        text_scores=(memory_costs.time_text_score(500, 64, 8, 32),),
        weight_pass=memory_costs.time_weight_pass(coloured_place, encoders, MEMORY, cache),
        archive=memory_costs.measure_archive(coloured_place, encoders, MEMORY, cache),
    )
    assert found.text_scores[0].largest_difference < 1e-4
    assert found.archive.encoders == ("colours", "other")
    assert found.archive.megabytes > 0
    assert "first answer" in as_table(found)


def test_too_few_frames_to_hold_any_out_are_refused(room_frames):
    with pytest.raises(TrainingError, match="longer walk"):
        prepare(room_frames[:4], GeometrySettings(steps=1))
