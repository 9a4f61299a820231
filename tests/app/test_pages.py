"""The handlers behind the pages, called as functions."""

from html import unescape

import gradio as gr
import pytest

from app import run_actions
from app.pages import checkpoints, home, models, runs, settings, shell
from studio.db import comparisons, jobs
from studio.errors import RefusedInput
from studio.messages import LANGUAGES
from studio.params.table import parameters


@pytest.fixture(params=LANGUAGES)
def context(request, filled):
    return filled.context(request.param)


def test_the_bar_shows_the_running_job_as_a_link(context, filled):
    bar = shell.bar_html(context, {}, page="runs")
    assert f'href="/{context.language}/runs?run={filled.ids["running"]}"' in bar and "23/60" in bar
    assert bar.count("aria-current") == 1


def test_home_greets_first_and_shows_runs_later(context, empty, filled):
    assert context.say("home.attention", run=2, title="too high a rate") in home.draw(context, {})
    assert context.say("home.lead") in home.first_visit(context)


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 51, 3)])
def test_an_old_sqlite_is_named_at_home_and_by_the_doctor(context, filled, monkeypatch, version):
    from studio.db import engine
    from studio.hardware import doctor, sqlite_fact

    monkeypatch.setattr(engine, "is_sqlite_old", lambda: version < engine.SAFE_SQLITE)
    is_old = version == (3, 40, 1)
    fact = sqlite_fact()
    assert fact in doctor(filled.workspace.root) and fact.is_good is not is_old
    assert (context.say(f"doctor.{fact.code}", **fact.values) in unescape(home.draw(context, {}))) is is_old


def test_home_shows_what_runs_however_much_was_asked_for_since(context, filled):
    from tests.app.seeding import add_run

    with filled.writer.begin() as session:
        for number in range(60):
            add_run(session, title=f"since then {number}", state="failed")
    drawn = home.draw(context, {})
    assert f"/runs?run={filled.ids['running']}" in drawn and "since then 59" in drawn


def test_home_of_an_empty_studio_offers_both_ways(empty):
    body = home.draw(empty.context(), {})
    assert "/en/data?sample=1" in body and 'href="/en/data"' in body


def test_the_list_of_runs_names_all_and_escapes(context):
    listed = runs.draw(context, {})[3]
    assert "&lt;i&gt;second&lt;/i&gt; try" in listed and "<i>second" not in listed
    for state in ("queued", "running", "failed", "succeeded"):
        assert context.say(f"common.state.{state}") in listed


def test_runs_are_searched(context):
    assert (
        "first try" in runs.search(context, "FIRST", "")[0] and "too high" not in runs.search(context, "FIRST", "")[0]
    )
    assert "100%" in runs.search(context, "100%", "")[0]


def test_a_runs_detail_tells_state_log_and_settings(context, filled):
    drawn = runs.draw(context, {"run": str(filled.ids["running"])})
    text = " ".join(value for value in drawn if isinstance(value, str))
    assert 'aria-valuenow="38"' in text
    assert "step 2 &lt;b&gt;bold&lt;/b&gt;" in text
    chosen, filled_in = (
        f"<dt>{each.label(context.language)}</dt>"
        for name in ("max_steps", "learning_rate")
        for each in parameters("sft")
        if each.name == name
    )
    assert text.index(chosen) < text.index(filled_in), "what a person set comes first"
    assert drawn[0]["visible"] is False and drawn[5]["visible"] is True


def test_an_unknown_run_is_one_sentence(context):
    text = runs.draw(context, {"run": "999"})[6]
    assert "999" in text and "Traceback" not in text


def test_several_runs_lie_beside_each_other_by_links_alone(context, filled):
    from tests.app.seeding import add_run

    with filled.writer.begin() as session:
        ours = [
            add_run(session, title=title, state="succeeded", values={"learning_rate": rate, "num_train_epochs": 2})
            for title, rate in (("slow", 1e-4), ("fast", 5e-4))
        ]
    drawn = runs.draw(context, {"runs": f"{ours[0]}, {ours[1]},{ours[0]},x,99999"})
    head = drawn[6]
    below = next(each for each in drawn if isinstance(each, str) and context.say("runs.others") in each)
    assert head.count("<tr>") == 3, "a heading and the two runs that exist, each once"
    assert f'href="/{context.language}/runs?runs={ours[1]}"' in head, "take the first away"
    labels = {each.name: each.label(context.language) for each in parameters("sft")}
    differing = below[: below.index(context.say("runs.others"))]
    assert labels["learning_rate"] in differing and labels["num_train_epochs"] not in differing
    assert f"runs={ours[0]}%2C{ours[1]}%2C{filled.ids['running']}" in below, "add the running one"
    assert f"runs={ours[0]}" in runs.draw_detail(context, ours[0])[0], "a run's own page leads here"


@pytest.mark.parametrize("query", [{}, {"run": ""}, {"run": "abc"}, {"run": "9" * 40}, {"run": "-1"}, {"run": "²"}])
def test_an_address_without_a_run_shows_the_list(context, query):
    assert runs.draw(context, query)[0]["visible"] is True


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        ("running", {"stop", "stop_now", "pause", "save"}),
        ("queued", {"stop"}),
        ("paused", {"stop", "resume"}),
        ("succeeded", set()),
        ("failed", {"resume"}),
        ("lost", {"resume"}),
        ("cancelled", set()),
    ],
)
def test_buttons_are_live_where_the_life_cycle_allows(filled, state, allowed):
    from tests.app.seeding import add_run

    with filled.writer.begin() as session:
        made = add_run(session, title="x", state=state)
        job = jobs.job(session, made)
    assert {action for action in run_actions.ACTIONS if run_actions.refusal(job, action) is None} == allowed
    shown = {action for action in run_actions.ACTIONS if run_actions.belongs(job, action)}
    assert shown >= allowed
    why = run_actions.why_html(filled.context(), job)
    for action in shown - allowed:
        assert filled.context().say(f"runs.action.{action}") in why


def test_a_button_asks_the_desk(context, filled):
    run = filled.ids["running"]
    run_actions.act(context, run, "stop")
    with filled.studio.registry.session() as session:
        assert jobs.job(session, run).wish == "stop"
    assert context.say("runs.wish.stop") in runs.draw(context, {"run": str(run)})[6]


def test_checkpoints_are_listed_and_picked_from_the_address(context, filled):
    drawn = checkpoints.draw(context, {"pick": "1,3"}, False)
    assert drawn[2]["value"] == ["model:starter", "checkpoint:1", "checkpoint:3"]
    assert drawn[1].count("<tr>") == 4
    kept = checkpoints.draw(context, {"pick": "1,3"}, True)
    assert "value" not in kept[2], "a person's ticks are not undone"


def test_a_comparison_is_drawn_with_what_it_waits_for(context, filled):
    drawn = checkpoints.draw(context, {"compare": str(filled.ids["comparison"])}, True)
    grid = drawn[6]
    assert "What is a &lt;luthier&gt;?" in grid and "Hello &lt;b&gt;there" in grid
    assert grid.count("lu-growing") == 1
    assert context.say("checkpoints.loading") in grid
    assert drawn[-1]["value"] == checkpoints.FAST_SECONDS


def test_answers_that_wait_for_a_run_name_it(context, filled):
    from studio.db.tables import Lease

    with filled.writer.begin() as session:
        session.add(Lease(device="cpu", job_id=filled.ids["running"]))
    sentence = context.say("checkpoints.waits_for_run", run=filled.ids["running"], title="<i>second</i> try")
    assert checkpoints.waiting_sentence(context) == sentence


def test_comparing_asks_every_model_every_question(context, filled):
    address = checkpoints.compare(
        context, ["model:starter", "checkpoint:2"], "one\n\ntwo\n", 7, 0.5, 0.9, 32, "Be brief."
    )
    made = int(address.rpartition("=")[2])
    with filled.studio.registry.session() as session:
        found = comparisons.comparison(session, made)
    assert found.prompts == ["one", "two"] and len(found.answers) == 4
    assert found.settings == {"seed": 7, "temperature": 0.5, "top_p": 0.9, "max_new_tokens": 32, "system": "Be brief."}
    assert [column["checkpoint"] for column in found.columns] == [None, 2]


def test_nothing_ticked_or_asked_is_refused(context):
    with pytest.raises(RefusedInput):
        checkpoints.compare(context, [], "hello", 42, 0, 1, 16, "")
    with pytest.raises(RefusedInput):
        checkpoints.compare(context, ["model:starter"], " \n", 42, 0, 1, 16, "")


def test_a_chat_opens_at_its_own_address(context, filled):
    address = checkpoints.start_chat(context, "checkpoint:1", "Hi <b>", 42, 0.0, 1.0, 16, "")
    assert address.startswith(f"/{context.language}/checkpoints?talk=")
    drawn = checkpoints.draw(context, {"talk": address.rpartition("=")[2]}, True)
    assert "Hi &lt;b&gt;" in drawn[6] and drawn[7]["visible"] is True


def test_models_and_settings_tell_their_facts(context, filled):
    assert "apache-2.0" in models.draw(context, {}) and "0.3 GiB" in models.draw(context, {})
    assert str(filled.workspace.root) in settings.draw(context, {})


def test_a_folder_that_is_no_model_is_refused_in_words(context, filled, tmp_path):
    with pytest.raises(RefusedInput) as refused:
        models.add(context, str(tmp_path / "nowhere"), "")
    assert "nowhere" in refused.value.message(context.language)


def test_a_hub_id_on_the_models_page_is_queued_and_told(context, filled):
    _, drawn = models.add(context, "HuggingFaceTB/SmolLM2-360M", "")
    assert context.say("models.fetching", model="HuggingFaceTB/SmolLM2-360M") in unescape(drawn)
    with filled.studio.registry.session() as session:
        asked = jobs.list_jobs(session, kinds=("fetch",))[0]
    with filled.writer.begin() as session:
        jobs.move(session, asked.id, "starting")
        jobs.move(session, asked.id, "failed", reason="job.hub_unreachable", values={"model": asked.title})
    assert context.say("models.not_fetched", model=asked.title) in unescape(models.draw(context, {}))


def test_a_gguf_file_on_the_models_page_is_unpacked_and_told(context, filled, tmp_path):
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    _, drawn = models.add(context, str(tmp_path), "mine")
    assert context.say("models.unpacking", model="small.gguf") in unescape(drawn)
    with filled.studio.registry.session() as session:
        asked = jobs.list_jobs(session, kinds=("unpack",))[0]
    with filled.writer.begin() as session:
        jobs.move(session, asked.id, "starting")
        values = {"path": "small.gguf", "error": "no weights"}
        jobs.move(session, asked.id, "failed", reason="job.unpack.broken", values=values)
    shown = unescape(models.draw(context, {}))
    assert context.say("models.not_unpacked", model="small.gguf") in shown and "no weights" in shown


def test_bound_handlers_turn_refusals_into_escaped_notices(context):
    def refuse(context, request: gr.Request, name: str) -> None:
        raise RefusedInput("name.unusable", name=name)

    bound = shell.bind(refuse, context)
    assert bound.__annotations__ == {"request": gr.Request, "name": str, "return": None}
    with pytest.raises(gr.Error) as shown:
        bound(None, "<img>")
    assert "&lt;img&gt;" in shown.value.message


def test_bound_handlers_hide_tracebacks_but_log_them(context, caplog):
    def break_down(context) -> None:
        raise ZeroDivisionError("secret detail")

    with pytest.raises(gr.Error) as shown:
        shell.bind(break_down, context)()
    assert "secret" not in shown.value.message and "ZeroDivisionError" in caplog.text
