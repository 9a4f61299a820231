"""Recipes are strict, say what was probably meant, and are kept by name."""

import pytest

from studio.errors import RefusedInput, UnknownName
from studio.messages import LANGUAGES, has
from studio.paths import Workspace
from studio.workshop import recipe as recipes
from studio.workshop.recipe import CHECKS, STEPS


@pytest.fixture
def place(tmp_path) -> Workspace:
    return Workspace(tmp_path).make()


def test_the_recommended_recipe_holds_known_steps_in_their_order():
    steps = [step.step for step in recipes.recommended().steps]
    assert steps == [name for name in STEPS if name in steps]
    assert {"task_schema", "duplicates", "noise", "normalise"} <= set(steps)


@pytest.mark.parametrize("document", [None, [], "noise", {"steps": "noise"}, {"steps": [3]}, {"steps": [{}]}])
def test_what_is_no_recipe_is_refused(document):
    with pytest.raises(RefusedInput) as refused:
        recipes.parse(document)
    assert refused.value.code == "data.cleaning.shape"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"steps": ["nois"]}, "noise"),
        ({"steps": [{"step": "noise", "option": {}}]}, "options"),
        ({"steps": [{"step": "noise", "options": {"htm": "mark"}}]}, "html"),
        ({"step": [], "steps": []}, "steps"),
    ],
)
def test_a_misspelt_word_brings_the_closest_one(document, told):
    with pytest.raises(UnknownName) as refused:
        recipes.parse(document)
    assert refused.value.values["hint"] == told
    for language in LANGUAGES:
        assert f"“{told}”" in refused.value.message(language)


def test_every_refusal_of_an_unknown_word_has_a_sentence():
    for kind in ("recipe_key", "step", "option", "check"):
        assert has(f"errors.data.cleaning.unknown_{kind}")


@pytest.mark.parametrize("options", [{"html": "burn"}, {"least_quality": 7}, {"languages": "en"}])
def test_a_value_that_cannot_be_is_refused_with_its_place(options):
    with pytest.raises(RefusedInput) as refused:
        recipes.parse({"steps": [{"step": "noise", "options": options}]})
    assert refused.value.code == "data.cleaning.bad_option"
    assert next(iter(options)) in str(refused.value)


def test_a_step_stands_once():
    with pytest.raises(RefusedInput, match="twice"):
        recipes.parse({"steps": ["noise", "normalise", "noise"]})


def test_a_recipe_is_saved_found_listed_and_removed(place):
    mine = recipes.parse({"steps": ["normalise", {"step": "noise", "enabled": False, "options": {"urls": "mend"}}]})
    recipes.save(place, "mine", mine)
    found = recipes.find(place, "mine")
    assert (found.name, found.steps) == ("mine", mine.steps)
    assert [(each.name, each.is_shipped) for each in recipes.names(place)] == [("recommended", True), ("mine", False)]
    recipes.remove(place, "mine")
    with pytest.raises(UnknownName, match="recommended"):
        recipes.find(place, "mine")


def test_shipped_recipes_stay_as_they_are(place):
    for change in (
        lambda: recipes.save(place, "recommended", recipes.recommended()),
        lambda: recipes.remove(place, "recommended"),
    ):
        with pytest.raises(RefusedInput, match="another name"):
            change()
    assert recipes.find(place, None) == recipes.recommended()


@pytest.mark.parametrize("name", ["../mine", "/etc/passwd", "sub/mine", "."])
def test_a_name_is_no_path(place, tmp_path, name):
    (tmp_path / "mine.yaml").write_text("steps: [noise]")
    with pytest.raises(UnknownName):
        recipes.find(place, name)


def test_broken_yaml_is_a_sentence():
    with pytest.raises(RefusedInput, match=r"mine\.yaml"):
        recipes.parse_yaml("steps: [", file="mine.yaml")


def test_two_recipes_are_told_apart_by_what_they_do():
    one, same, other = ({"steps": [{"step": "noise", "options": {"urls": urls}}]} for urls in ("mend", "mend", "mark"))
    assert recipes.digest(recipes.parse(one, name="a")) == recipes.digest(recipes.parse(same, name="b"))
    assert recipes.digest(recipes.parse(one)) != recipes.digest(recipes.parse(other))


@pytest.mark.parametrize(("table", "name"), [(table, name) for table in (STEPS, CHECKS) for name in table])
def test_every_step_and_check_has_options_that_a_form_can_show(table, name):
    listed = recipes.options_of(name, table)
    kind = recipes.module(table, name).Options
    assert [each.name for each in listed] == list(kind.__struct_fields__)
    assert all(each.default == recipes.plain(kind())[each.name] for each in listed)
    assert all(each.choices for each in listed if each.kind in ("choice", "choices"))


def test_an_option_s_bounds_and_choices_are_told():
    shown = {each.name: each for each in recipes.options_of("noise")}
    assert shown["html"].choices == ("off", "mark", "mend", "remove")
    assert (shown["least_quality"].minimum, shown["least_quality"].maximum) == (0, 1)
    assert shown["languages"].kind == "texts"
