from dataclasses import replace

import numpy as np
import pytest
import torch

from m3_ros.errors import QueryError
from m3_ros.features.visual_prompt import encode_prompt
from m3_ros.geometry.pose import inverse, look_at
from m3_ros.query import Finder, Status
from m3_ros.query.grounding import propose
from m3_ros.query.likeness import likeness
from m3_ros.query.settings import GroundingSettings, RelevancySettings
from m3_ros.splat import render


@pytest.fixture(scope="module")
def shown(coloured_room):
    """A picture of the room, and where its things lie in it."""
    g, camera = coloured_room.memory.gaussians, coloured_room.memory.keyframes.cameras[0]
    pose = look_at((-1.0, 0.0, 1.6), (1.3, -0.1, 0.2))
    viewmat, K = (torch.from_numpy(m).float()[None] for m in (inverse(pose), camera.K))
    rgb = 0.5 + 0.2820948 * g.sh0[:, 0]
    drawn = render(g.means, g.quats, g.scales, g.opacities, rgb, viewmat, K, camera.width, camera.height)
    picture = (drawn.features[0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()

    def pixel(point):
        return tuple(camera.project((inverse(pose) @ [*point, 1.0])[None, :3])[0])

    return picture, pixel


@pytest.mark.parametrize("name", ["chair", "cone"])
def test_what_is_clicked_on_in_a_picture_is_found_in_the_place(coloured_room, shown, name):
    picture, pixel = shown
    query = encode_prompt(coloured_room.encoder, picture, point=pixel(coloured_room.centres[name]))
    memory = coloured_room.memory
    entry = memory.principal_queries[0]
    found = likeness(memory, entry, query, RelevancySettings())
    best = propose(memory, found, entry.consistency, GroundingSettings())[0]
    assert np.linalg.norm(best.centre - coloured_room.centres[name]) < 0.15
    inside = torch.tensor([n == name for n in coloured_room.names])
    assert found.probability[inside].mean() > 5 * found.probability[~inside].mean()


@pytest.mark.parametrize("query", [torch.zeros(48), torch.ones(7)])
def test_a_vector_that_says_nothing_or_is_of_another_model_is_refused(coloured_room, query):
    memory = coloured_room.memory
    with pytest.raises(QueryError, match="length 48"):
        likeness(memory, memory.principal_queries[0], query, RelevancySettings())


def test_what_the_place_does_not_hold_is_nowhere_likely(coloured_room):
    memory = coloured_room.memory
    entry, settings = memory.principal_queries[0], RelevancySettings()
    present, absent = coloured_room.encoder.encode_text(["chair", "bicycle"])
    highest = [float(likeness(memory, entry, v, settings).probability.max()) for v in (present, absent)]
    assert highest[1] < 0.3 < 0.5 < highest[0]


def test_a_finder_answers_a_visual_prompt_with_a_place(coloured_room, shown):
    picture, pixel = shown
    finder = Finder(coloured_room.memory, coloured_room.encoder)
    query = encode_prompt(coloured_room.encoder, picture, point=pixel(coloured_room.centres["chair"]))
    answer = finder.find_like(query, "the thing clicked on")
    assert answer.status == Status.FOUND
    assert "the thing clicked on" in answer.message
    assert np.linalg.norm(answer.candidates[0].centre - coloured_room.centres["chair"]) < 0.15
    absent = finder.find_like(coloured_room.encoder.encode_text(["bicycle"])[0])
    assert absent.status == Status.NOT_FOUND
    with pytest.raises(QueryError, match="top_k"):
        finder.find_like(query, top_k=0)


def test_a_memory_that_saw_nothing_says_so_of_a_visual_prompt_too(coloured_room):
    unseen = replace(coloured_room.memory, visibility=torch.zeros_like(coloured_room.memory.visibility))
    answer = Finder(unseen, coloured_room.encoder).find_like(torch.ones(48))
    assert answer.status == Status.UNOBSERVED
