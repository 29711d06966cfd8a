from dataclasses import replace

import numpy as np
import pytest
import torch

from m3_ros.errors import MemoryFormatError, QueryError
from m3_ros.geometry.pose import look_at
from m3_ros.memory.linear_head import coded
from m3_ros.query import Finder, QuerySettings, Status, find


@pytest.fixture(scope="module")
def finder(coloured_room):
    return Finder(coloured_room.memory, coloured_room.encoder)


@pytest.mark.parametrize("name", ["chair", "ball", "plant", "cone"])
def test_present_object_is_found_where_it_stands(coloured_room, finder, name):
    answer = finder.find(f"find the {name}")
    assert answer.status == Status.FOUND
    (candidate,) = answer.candidates
    assert np.linalg.norm(candidate.centre - coloured_room.centres[name]) < 0.05
    assert np.abs(np.sort(candidate.box.size) - np.sort(coloured_room.sizes[name])).max() < 0.1
    right = torch.tensor([n == name for n in coloured_room.names])
    assert float((candidate.gaussians & right).sum()) >= 0.95 * float(right.sum())
    assert float((candidate.gaussians & ~right).sum()) <= 0.05 * float(right.sum())


@pytest.mark.parametrize("name", ["sofa", "lamp", "bicycle", "unicorn"])
def test_absent_object_is_not_found(finder, name):
    answer = finder.find(f"where is the {name}?")
    assert answer.status == Status.NOT_FOUND
    assert name in answer.message
    assert all(c.probability < 0.5 for c in answer.candidates)


def test_two_chairs_are_both_found_best_first(coloured_room):
    g = coloured_room.memory.gaussians
    chair = torch.tensor([n == "chair" for n in coloured_room.names])
    moved = replace(g[chair], means=g[chair].means + torch.tensor([-1.5, 0.2, 0.0]))
    entry = coloured_room.memory.principal_queries[0]
    both = replace(
        coloured_room.memory,
        gaussians=type(g)(*(torch.cat([getattr(g, k), getattr(moved, k)]) for k in vars(g))),
        visibility=torch.cat([coloured_room.memory.visibility, coloured_room.memory.visibility[chair]]),
        principal_queries=(
            replace(
                entry,
                queries=torch.cat([entry.queries, entry.queries[chair]]),
                norms=torch.cat([entry.norms, entry.norms[chair]]),
                consistency=torch.cat([entry.consistency, entry.consistency[chair]]),
            ),
        ),
    )
    finder = Finder(both, coloured_room.encoder)
    answer = finder.find("chair", top_k=5)
    assert answer.status == Status.FOUND
    assert len(answer.candidates) == 2
    assert [c.object_id for c in answer.candidates] == [0, 1]
    assert answer.candidates[0].probability >= answer.candidates[1].probability
    assert len(finder.find("chair", top_k=1).candidates) == 1


def test_a_negative_that_names_the_thing_takes_the_answer_away(finder):
    assert finder.find("chair", negatives=("chair",)).status == Status.NOT_FOUND


def test_evidence_views_look_at_the_object(coloured_room, finder):
    candidate = finder.find("chair").candidates[0]
    assert 1 <= len(candidate.views) <= QuerySettings().max_views
    frames = coloured_room.memory.keyframes
    for view in candidate.views:
        local = np.linalg.inv(frames.T_map_camera[view]) @ np.append(candidate.centre, 1)
        uv = frames.cameras[view].project(local[None, :3])[0]
        assert (uv > -40).all()
        assert (uv < [200, 160]).all()


def test_wall_of_a_room_is_too_wide_to_be_a_thing(coloured_room, finder):
    assert finder.find("floor").status == Status.NOT_FOUND


def test_memory_that_saw_nothing_is_unobserved(coloured_room):
    blind = replace(coloured_room.memory, visibility=torch.zeros(len(coloured_room.memory.gaussians)))
    answer = Finder(blind, coloured_room.encoder).find("chair")
    assert answer.status == Status.UNOBSERVED
    assert answer.candidates == ()


def test_threshold_decides(finder):
    assert finder.find("chair", min_probability=1.0).status == Status.NOT_FOUND
    assert finder.find("chair", min_probability=0.0).status == Status.FOUND


def test_empty_question_is_refused(finder):
    with pytest.raises(QueryError, match="words"):
        finder.find("  ")
    with pytest.raises(QueryError, match="top_k"):
        finder.find("chair", top_k=0)


def test_memory_of_another_encoder_version_is_refused(coloured_room):
    with pytest.raises(MemoryFormatError, match="version"):
        Finder(coloured_room.memory, replace(coloured_room.encoder, version="2"))


def test_one_question_needs_no_finder(coloured_room):
    assert find(coloured_room.memory, "chair", encoder=coloured_room.encoder).status == Status.FOUND


@pytest.fixture(scope="module")
def with_linear_head(coloured_room):
    (entry,) = coloured_room.memory.principal_queries
    mean, to_query = entry.queries.float(), torch.linalg.pinv(entry.attention.W)
    linear = coded(mean, entry.attention.bank, to_query, 8)
    return replace(coloured_room.memory, principal_queries=(replace(entry, linear=linear),))


def test_the_linear_head_answers_too_and_the_answer_says_so(coloured_room, with_linear_head, finder):
    linear = Finder(with_linear_head, coloured_room.encoder, head="linear")
    for name, centre in coloured_room.centres.items():
        answer = linear.find(name)
        assert (answer.head, answer.status) == ("linear", Status.FOUND)
        assert np.linalg.norm(answer.candidates[0].centre - centre) < 0.05
    assert linear.find("sofa").status == Status.NOT_FOUND
    assert finder.find("chair").head == "attention"
    like = linear.likeness(coloured_room.encoder.encode_text(["chair"])[0])
    assert not torch.equal(like.cosine, finder.likeness(coloured_room.encoder.encode_text(["chair"])[0]).cosine)


def test_a_linear_head_that_was_not_kept_is_refused_at_once(coloured_room):
    with pytest.raises(MemoryFormatError, match="--code-length"):
        Finder(coloured_room.memory, coloured_room.encoder, head="linear")


def test_a_view_lights_up_where_the_thing_is_in_the_papers_order(coloured_room, finder):
    frames = coloured_room.memory.keyframes
    camera, pose = frames.cameras[0], look_at((-0.5, 0.0, 1.2), coloured_room.centres["chair"])
    heat = finder.relevancy_in_view("chair", camera, pose, 24, 32)
    p_camera = (np.linalg.inv(pose) @ [*coloured_room.centres["chair"], 1.0])[:3]
    ((u, v),) = camera.project(p_camera[None])
    assert float(heat[int(v * 24 / camera.height), int(u * 32 / camera.width)]) > 0.5
    assert float(heat[0, 0]) < 0.1
    assert float(finder.relevancy_in_view("sofa", camera, pose, 24, 32).max()) < 0.5
