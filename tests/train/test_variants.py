import numpy as np

from tools.clerk.train.data.variants import SPREAD, child, traits

MOTHER = """language variant
name Mother
gender female

pitch 200 250   // high
formant 1 120 60 160 -20
formant 2 130 75 150
flutter 3
#echo 130 15
klatt 4
"""
FATHER = """language variant
name Father
pitch 80 120
formant 1 90 100 100
voicing 150
"""


def numbers(trait: str) -> list[int]:
    return [int(number) for number in trait.split()]


def test_a_trait_is_a_line_that_says_how_a_speaker_sounds() -> None:
    assert traits(MOTHER) == {
        "pitch": "200 250",
        "formant 1": "120 60 160 -20",
        "formant 2": "130 75 150",
        "flutter": "3",
        "klatt": "4",
    }


def test_a_child_has_each_trait_of_one_parent_and_its_numbers_a_little_off() -> None:
    seen = set()
    for seed in range(40):
        made = traits(child(MOTHER, FATHER, np.random.default_rng(seed)))
        for trait, value in made.items():
            near = [
                name
                for name, parent in (("mother", traits(MOTHER)), ("father", traits(FATHER)))
                if trait in parent
                and len(numbers(parent[trait])) == len(numbers(value))
                and all(
                    abs(one - other) <= SPREAD * abs(other) + 0.5
                    for one, other in zip(numbers(value), numbers(parent[trait]), strict=True)
                )
            ]
            assert near, (trait, value)
            seen |= {(trait, name) for name in near}
        assert made.get("klatt", "4") == "4"  # a kind of synthesis, not a quantity
    assert {("pitch", "mother"), ("pitch", "father"), ("formant 1", "mother"), ("formant 1", "father")} <= seen


def test_a_child_may_lack_what_only_one_parent_has() -> None:
    made = [traits(child(MOTHER, FATHER, np.random.default_rng(seed))) for seed in range(40)]
    assert {"voicing" in each for each in made} == {True, False}


def test_the_same_seed_makes_the_same_child() -> None:
    one, same, other = (child(MOTHER, FATHER, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same != other
