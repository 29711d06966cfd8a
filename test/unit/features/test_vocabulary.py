from m3_ros.features.foreign_words import TEST_FOREIGN, TRAINING_FOREIGN, foreign_to
from m3_ros.features.vocabulary import (
    BACKGROUND_KINDS,
    GROUPS,
    HELD_OUT_GROUPS,
    VOCABULARY,
    held_out_phrase_kinds,
    phrase_kinds,
    plain_name,
)


def test_every_kind_of_the_simulated_world_has_words():
    from m3_ros.sim.kinds import KINDS

    assert not (set(KINDS) | BACKGROUND_KINDS) - set(VOCABULARY)
    assert all(plain_name(kind) == kind for kind in KINDS)


def test_words_kept_for_testing_are_not_trained_on():
    assert not set(phrase_kinds(VOCABULARY)) & set(held_out_phrase_kinds(VOCABULARY))
    assert not set(TEST_FOREIGN) & set(TRAINING_FOREIGN)


def test_foreign_words_name_nothing_that_rooms_hold():
    known = phrase_kinds(VOCABULARY)
    assert not set(foreign_to(TRAINING_FOREIGN, known)) & set(known)
    assert "tennis ball" not in foreign_to(TRAINING_FOREIGN, known)
    assert set(foreign_to(TEST_FOREIGN, known)) == set(TEST_FOREIGN)


def test_groups_name_kinds_and_shrink_to_those_asked_for():
    assert not {k for kinds in (GROUPS | HELD_OUT_GROUPS).values() for k in kinds} - set(VOCABULARY)
    table = phrase_kinds(["sofa", "mug"])
    assert table["seat"] == frozenset({"sofa"})
    assert "toy" not in table


def test_an_unknown_kind_is_called_by_its_own_name():
    assert phrase_kinds(["teapot"]) == {"teapot": frozenset({"teapot"})}
