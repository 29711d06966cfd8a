"""`m3 ask` by a picture, and `m3 info` of a memory, on the coloured room."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from m3_ros.cli.main import main
from m3_ros.features import registry
from m3_ros.memory import find_objects, load_memory
from m3_ros.memory.linear_head import coded


@pytest.fixture
def memory(coloured_room, tmp_path, monkeypatch):
    knows = replace(coloured_room.encoder, known_names=tuple(coloured_room.centres))
    monkeypatch.setitem(registry.ENCODERS, "colours", lambda source, compute: coloured_room.encoder)
    replace(coloured_room.memory, objects=find_objects(coloured_room.memory, [knows])).save(tmp_path / "memory")
    return tmp_path / "memory"


@pytest.fixture
def picture(tmp_path):
    """Red like the chair on the left, blue like the ball on the right."""
    rgb = np.zeros((40, 80, 3), np.uint8)
    rgb[:, :40], rgb[:, 40:] = (200, 30, 30), (30, 30, 200)
    Image.fromarray(rgb).save(tmp_path / "shown.png")
    return tmp_path / "shown.png"


def ask(capsys, *arguments):
    code = main(["ask", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out.strip(), out.err.strip()


@pytest.mark.parametrize(("prompt", "name"), [
    (["--point", 10, 20], "chair"),
    (["--point", 70, 20], "ball"),
    (["--box", 4, 4, 36, 36], "chair"),
    (["--box", 44, 4, 76, 36], "ball"),
])  # fmt: skip
def test_what_a_picture_shows_is_found(coloured_room, memory, picture, capsys, prompt, name):
    code, said, _ = ask(capsys, memory, "--like", picture, *prompt, "--json")
    assert code == 0
    answer = json.loads(said)
    assert answer["text"] == "the thing in shown.png"
    assert np.linalg.norm(np.array(answer["candidates"][0]["centre"]) - coloured_room.centres[name]) < 0.15
    assert answer["T_map_base"] is not None


def test_a_picture_and_words_are_asked_together_and_drawn(memory, picture, capsys, tmp_path):
    drawn = tmp_path / "answers.png"
    code, said, _ = ask(
        capsys,
        memory,
        "find the plant",
        "--like",
        picture,
        "--point",
        10,
        20,
        "--encoder",
        "colours",
        "--picture",
        drawn,
    )
    assert code == 0
    assert [line.split(":")[0] for line in said.splitlines()] == ["the thing in shown.png", "find the plant", "picture"]
    assert len(list(tmp_path.glob("answers*.png"))) == 3


def test_the_whole_picture_is_what_is_meant_without_a_box(coloured_room, memory, picture, capsys):
    Image.open(picture).crop((0, 0, 40, 40)).save(picture)
    code, said, _ = ask(capsys, memory, "--like", picture, "--json")
    assert code == 0
    centre = np.array(json.loads(said)["candidates"][0]["centre"])
    assert np.linalg.norm(centre - coloured_room.centres["chair"]) < 0.15


@pytest.mark.parametrize(("arguments", "message"), [
    (["--point", 1, 1], "--like PICTURE"),
    (["--like", "nowhere.png"], "nowhere.png cannot be read as a picture"),
    (["--like", __file__], "cannot be read as a picture"),
    (["--like", "PICTURE", "--point", 500, 1], "must lie in its image"),
    (["--like", "PICTURE", "--point", 5, 1, "--box", 0, 0, 9, 9], "either one box"),
    (["chair", "--encoder", "nobody"], "no encoder is called 'nobody'"),
])  # fmt: skip
def test_mistakes_are_one_line(memory, picture, capsys, arguments, message):
    code, _, said = ask(capsys, memory, *(picture if a == "PICTURE" else a for a in arguments))
    assert code == 1
    assert message in said.splitlines()[-1]


def test_info_lists_the_objects_of_a_memory(coloured_room, memory, capsys):
    assert main(["info", str(memory)]) == 0
    said = capsys.readouterr().out
    assert f"{len(coloured_room.centres)} objects" in said
    assert all(f"perhaps {name}" in said for name in coloured_room.centres)
    assert "MB" in said


def test_info_looks_for_objects_where_the_training_did_not(coloured_room, tmp_path, capsys):
    coloured_room.memory.save(tmp_path)
    assert main(["info", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"{len(coloured_room.centres)} objects" in said
    assert "of no known name" in said


def test_info_says_what_bytes_are_spent_on_and_how_well_the_bank_covers(coloured_room, tmp_path, capsys):
    coloured_room.memory.save(tmp_path / "memory", query_precision="int8")
    assert main(["info", str(tmp_path / "memory")]) == 0
    said = capsys.readouterr().out
    for part in ("gaussians", "keyframes", "memory.json", "queries", "W and keys", "bank", "eight bits"):
        assert part in said
    bank = coloured_room.memory.principal_queries[0].attention.bank
    assert f"theta {bank.theta:.3f}; coverage mean {bank.coverage.mean:.3f}, min {bank.coverage.minimum:.3f}" in said
    assert f"of {bank.coverage.count} features below theta" in said
    size = sum(file.stat().st_size for file in (tmp_path / "memory").iterdir()) / 1e6
    assert float(said.split(" MB: ")[0].rsplit(maxsplit=1)[1]) == pytest.approx(size, abs=0.02)


def test_an_answer_names_the_head_that_it_was_read_out_by(coloured_room, memory, capsys):
    known = load_memory(memory)
    (entry,) = known.principal_queries
    linear = coded(entry.queries.float(), entry.attention.bank, torch.linalg.pinv(entry.attention.W), 8)
    replace(known, principal_queries=(replace(entry, linear=linear),)).save(memory)
    code, said, _ = ask(capsys, memory, "find the plant", "--encoder", "colours", "--head", "linear")
    assert (code, "by the linear head" in said) == (0, True)
    for head in ("linear", "attention"):
        _, said, _ = ask(capsys, memory, "find the plant", "--encoder", "colours", "--head", head, "--json")
        assert json.loads(said)["head"] == head


def test_a_missing_linear_head_is_one_line(memory, capsys):
    code, _, said = ask(capsys, memory, "find the plant", "--encoder", "colours", "--head", "linear")
    assert code == 1
    assert "keeps no linear head" in said
