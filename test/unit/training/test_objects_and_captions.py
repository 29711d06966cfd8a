"""What the memory stage adds to what is lifted: the objects of the place, and the words behind the components."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from m3_ros.query import Finder
from m3_ros.training.memory_stage import MemorySettings, build_memory
from m3_ros.training.polish import PolishSettings

SETTINGS = MemorySettings(query_dim=8, lift_width=160, polish=PolishSettings(steps=10))


@pytest.fixture(scope="module")
def memory(coloured_room, room_frames):
    base = type(coloured_room.encoder)

    @dataclass(frozen=True)
    class Speaking(base):
        """Calls every cell by the thing that its colour belongs to."""

        known_names: tuple[str, ...] = tuple(coloured_room.centres)

        def encode_image(self, rgb):
            seen = super().encode_image(rgb)
            names = list(dict.fromkeys(coloured_room.names))
            nearest = (seen.features.flatten(0, 1) @ self.encode_text(names).T).argmax(dim=1)
            index = nearest.reshape(seen.valid.shape)
            regions = 3 * self.encode_text(names)
            captions = tuple(f"a {name}" for name in names)
            return replace(seen, features=regions, index=index, captions=captions)

    return build_memory(room_frames, coloured_room.memory.gaussians, [Speaking()], SETTINGS)


def test_objects_are_found_with_the_memory(coloured_room, memory):
    assert {thing.name for thing in memory.objects} >= set(coloured_room.centres)
    for name, centre in coloured_room.centres.items():
        nearest = min(memory.objects, key=lambda thing, c=centre: np.linalg.norm(thing.centre - c))
        assert nearest.name == name
        assert np.linalg.norm(nearest.centre - centre) < 0.15


def test_captions_explain_answers(coloured_room, memory):
    assert set(memory.principal_queries[0].attention.bank.captions) <= {f"a {name}" for name in coloured_room.names}
    candidate = Finder(memory, coloured_room.encoder).find("plant").candidates[0]
    assert candidate.explanation[0].caption == "a plant"
