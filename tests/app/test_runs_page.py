"""The Runs page: the queue, the filtered list, and what a person keeps of a run; handlers called as functions."""

from pathlib import Path

import pytest

from app.data.panel import Told
from app.i18n import duration_text
from app.pages import runs as page
from app.runs import keeping, listing, queue_view
from studio.db import checkpoints, comparisons, jobs, lineage, models, runs
from studio.db import queue as queue_rules
from studio.db.queue import QueueRules
from studio.db.tables import Attempt, Checkpoint, Job
from studio.errors import Conflict, RefusedInput, UnknownName
from studio.jobs import folders
from studio.jobs.ingest import ingest
from studio.jobs.queueing import Wait
from studio.messages import LANGUAGES, has
from studio.protocol import EventLog, utc_now
from tests.app.seeding import add_checkpoint, add_run


@pytest.fixture(params=LANGUAGES)
def context(request, filled):
    return filled.context(request.param)


@pytest.fixture
def waiting(filled):
    """Three runs that wait, behind the one of the seeding."""
    with filled.writer.begin() as session:
        return [add_run(session, title=f"waits {place}", state="queued") for place in range(3)]


def order(filled) -> list[int]:
    with filled.studio.registry.session() as session:
        return [each.id for each in jobs.waiting(session)]


def kept(filled) -> QueueRules:
    with filled.studio.registry.session() as session:
        return queue_rules.rules(session)


# -- the queue -------------------------------------------------------------------------------------------------------


def test_what_waits_says_for_what(context, filled, waiting):
    with filled.writer.begin() as session:
        from studio.db.tables import Lease

        session.add(Lease(device="cpu", job_id=filled.ids["running"]))
        first = jobs.waiting(session)[0]
    drawn = queue_view.draw(context)
    assert context.say("queue.wait.device", device="cpu", run=filled.ids["running"]) in drawn
    assert context.say("queue.wait.behind", run=first.id, title=first.title) in drawn
    head = page.draw(context, {"run": str(first.id)})[6]
    assert context.say("queue.wait.device", device="cpu", run=filled.ids["running"]) in head


def test_the_queue_is_put_in_order_by_its_buttons(context, filled, waiting):
    before = order(filled)
    queue_view.press(context, Told("up", {"run": str(waiting[0])}))
    assert order(filled) == [waiting[0], before[0], *waiting[1:]]
    queue_view.press(context, Told("down", {"run": str(waiting[0])}))
    assert order(filled) == before
    queue_view.press(context, Told("first", {"run": str(waiting[2])}))
    assert order(filled)[0] == waiting[2]
    queue_view.press(context, Told("up", {"run": str(waiting[2])}))
    queue_view.press(context, Told("down", {"run": "999"}))
    assert order(filled)[0] == waiting[2]
    queue_view.press(context, Told("cancel", {"run": str(waiting[2])}))
    assert waiting[2] not in order(filled)
    queue_view.press(context, Told("cancel_all"))
    assert order(filled) == []


def test_waiting_runs_are_held_for_the_night_and_let_go(context, filled, waiting):
    queue_view.press(context, Told("start", fields={"start": "at"}))
    assert kept(filled).not_before is not None and 'type="time"' in queue_view.draw(context)
    queue_view.press(context, Told("clock", fields={"clock": "05:15"}))
    assert 'value="05:15"' in queue_view.draw(context)
    with pytest.raises(RefusedInput):
        queue_view.press(context, Told("clock", fields={"clock": "late"}))
    queue_view.press(context, Told("start", fields={"start": "by_hand"}))
    drawn = queue_view.draw(context)
    assert context.say("queue.held.by_hand") in drawn and context.say("queue.wait.held") in drawn
    queue_view.press(context, Told("release"))
    queue_view.press(context, Told("failure", fields={"failure": True}))
    assert kept(filled) == QueueRules(holds_after_failure=True)


def test_every_wait_has_words():
    waits = ("starts", "light", "no_device", "device", "devices", "behind", "server_leaves", "until", "held")
    assert [code for code in (*waits, "after_failure") if not has(f"queue.wait.{code}")] == []


def test_a_list_of_runs_and_a_time_are_written_out(context):
    assert "3" in queue_view.wait_text(context, Wait("devices", {"runs": [3, 4]}))
    assert "2026" not in queue_view.wait_text(context, Wait("until", {"time": "2026-01-31T21:30:00.000000Z"}))


def test_a_run_that_waits_is_cancelled_and_not_saved(context, filled, waiting):
    buttons = page.draw(context, {"run": str(waiting[0])})[8:13]
    assert [each["value"] for each in buttons if each["visible"]] == [context.say("runs.action.cancel")]


# -- the list --------------------------------------------------------------------------------------------------------


def listed(context, state=None, text="") -> str:
    return listing.draw(context, state or {}, text)


def test_runs_are_found_by_name_tag_note_model_and_number(context, filled):
    run = filled.ids["ended"]
    filled.studio.desk.tag_run(run, ["Rates"])
    filled.studio.desk.note_run(run, "The reviewer liked this one")
    for text in ("FIRST", "rates", "reviewer", "starter", f"#{run}"):
        assert "first try" in listed(context, text=text), text
    assert "too high" not in listed(context, text="reviewer")
    assert "100%" in listed(context, text="100%"), "no pattern"


def test_filters_narrow_the_list_and_offer_what_there_is(context, filled):
    desk, run = filled.studio.desk, filled.ids["ended"]
    desk.tag_run(run, ["rates"])
    assert "first try" in listed(context, {"tag": "rates"}) and "second" not in listed(context, {"tag": "rates"})
    assert "too high" in listed(context, {"state": "failed"}) and "first" not in listed(context, {"state": "failed"})
    bar = listing.bar(context, {})
    assert '<option value="rates">' in bar and '<option value="failed">' in bar
    state, _ = listing.press(context, {"start": 50}, Told("filter", fields={"state": "failed", "tag": ""}))
    assert state == {"state": "failed"}
    assert listing.from_query({"tag": "x", "run": "3"}) == {"tag": "x"}


def test_the_largest_come_first_where_room_is_needed(context, filled):
    with filled.writer.begin() as session:
        for size in (3, 9, 5):
            session.get_one(Job, add_run(session, title=f"holds {size}", state="failed")).disk_bytes = size << 30
    state, _ = listing.press(context, {}, Told("filter", fields={"order": "largest"}))
    shown = listed(context, state)
    assert shown.index("holds 9") < shown.index("holds 5") < shown.index("holds 3") < shown.index("first try")
    assert '<option value="largest" selected>' in listing.bar(context, state)
    assert "17.0 GiB" in shown


def test_many_runs_come_a_page_at_a_time(context, filled):
    with filled.writer.begin() as session:
        for number in range(60):
            add_run(session, title=f"many {number}", state="cancelled")
    first = listed(context, {"state": "cancelled"})
    assert "many 59" in first and "many 9<" not in first
    state, _ = listing.press(context, {"state": "cancelled"}, Told("forward"))
    second = listed(context, state)
    assert "many 9<" in second and "many 59" not in second
    assert listing.press(context, state, Told("back"))[0]["start"] == 0


def test_ticked_runs_are_laid_beside_each_other_or_put_away(context, filled):
    run, running = filled.ids["ended"], filled.ids["running"]
    state, _ = listing.press(context, {}, Told("tick", {"run": str(run)}, {f"tick-{run}": True}))
    state, _ = listing.press(context, state, Told("tick", {"run": str(running)}, {f"tick-{running}": True}))
    assert f"runs={run}%2C{running}" in listed(context, state)
    state, why = listing.press(context, state, Told("archive"))
    assert state["ticked"] == [running] and f"{running}:" in why, "what runs stays, and says why"
    assert "first try" not in listed(context) and "first try" in listed(context, {"archived": True})
    listing.press(context, {"ticked": [run]}, Told("bring_back"))
    assert "first try" in listed(context)


def test_deleting_ticked_runs_names_them_first(context, filled):
    run = filled.ids["ended"]
    state, _ = listing.press(context, {"ticked": [run]}, Told("delete"))
    assert f"{run} · first try" in listed(context, state)[:900]
    end_answers(filled)
    listing.press(context, state, Told("delete_all"))
    assert "first try" not in listed(context)


# -- one run ---------------------------------------------------------------------------------------------------------


def test_name_tags_and_note_are_kept_and_shown_as_text(context, filled):
    run = filled.ids["ended"]
    fields = {"title": "  best\nof all ", "tags": "rates\uff0c <b>night</b>", "note": "a <script> b"}
    keeping.press(context, run, Told("save", {}, fields))
    drawn = keeping.draw(context, run)
    assert 'value="best of all"' in drawn and "&lt;b&gt;night" in drawn and "a &lt;script&gt; b" in drawn
    with pytest.raises(RefusedInput):
        keeping.press(context, run, Told("save", {}, fields | {"title": " "}))


def test_the_same_run_is_queued_again_with_the_very_same_values(context, filled):
    run = filled.ids["ended"]
    went = keeping.press(context, run, Told("again")).goto
    with filled.studio.registry.session() as session:
        old, new = jobs.job(session, run), jobs.job(session, int(went.rpartition("=")[2]))
    assert (new.values, new.model, new.title, new.state) == (old.values, old.model, old.title, "queued")


def folder_of(filled, run: int) -> Path:
    folder = filled.workspace.checkpoints(run) / "step-20"
    folder.mkdir(parents=True)
    (folder / "adapter.safetensors").write_bytes(b"x" * 1000)
    return filled.workspace.job(run)


def test_checkpoints_are_deleted_and_the_rest_stays(context, filled):
    run = filled.ids["ended"]
    folder = folder_of(filled, run)
    (folder / "train.log").write_text("log")
    assert keeping.press(context, run, Told("free")).asks == "free"
    with pytest.raises(Conflict):  # the seeded comparison has an open answer of one of them
        keeping.press(context, run, Told("free_now"))
    end_answers(filled)
    keeping.press(context, run, Told("free_now"))
    assert [each.name for each in folder.iterdir()] == ["train.log"]
    with filled.studio.registry.session() as session:
        assert jobs.job(session, run).disk_bytes == 3 and runs.checkpoint_ids(session, run) == set()


def end_answers(filled) -> None:
    with filled.writer.begin() as session:
        for answer in comparisons.open_answers(session):
            comparisons.update_answer(session, {"answer_id": answer.id, "text": "", "done": True})


def test_deleting_with_and_without_files(context, filled):
    end_answers(filled)
    run = filled.ids["ended"]
    folder = folder_of(filled, run)
    assert keeping.press(context, run, Told("delete_kept")).goto.endswith("/runs")
    assert folder.exists()
    with filled.writer.begin() as session:
        other = add_run(session, title="x", state="failed")
    folder = folder_of(filled, other)
    keeping.press(context, other, Told("delete_all"))
    assert not folder.exists() and list(filled.workspace.jobs.glob(".removed*")) == []
    with filled.studio.registry.session() as session, pytest.raises(UnknownName):
        jobs.job(session, other)
    assert keeping.draw(context, other) == ""


@pytest.mark.parametrize("only_checkpoints", [False, True])
def test_a_crash_in_mid_deletion_leaves_it_done_or_undone(filled, only_checkpoints):
    with filled.writer.begin() as session:
        run = add_run(session, title="x", state="failed")
        add_checkpoint(session, run, 20)
    folder_of(filled, run)
    held = folders.folder_bytes(filled.workspace.job(run))
    folders.set_aside(filled.workspace, run, only_checkpoints=only_checkpoints)
    with filled.writer.begin() as session:  # before the registry knew of it
        folders.finish_removals(session, filled.workspace)
    assert folders.folder_bytes(filled.workspace.job(run)) == held == 1000
    folders.set_aside(filled.workspace, run, only_checkpoints=only_checkpoints)
    with filled.writer.begin() as session:
        if only_checkpoints:
            runs.forget_checkpoints(session, run)
        else:
            session.delete(jobs.require(session, run))
    with filled.writer.begin() as session:  # after it
        folders.finish_removals(session, filled.workspace)
    assert folders.folder_bytes(filled.workspace.job(run)) == 0
    assert list(filled.workspace.jobs.glob(".removed*")) == []


@pytest.mark.parametrize("user", ["job", "goes_on", "model", "answers"])
def test_what_is_in_use_is_never_deleted(context, filled, user):
    with filled.writer.begin() as session:
        run = add_run(session, title="x", state="failed")
        add_checkpoint(session, run, 20)
        folder = str(folder_of(filled, run) / "checkpoints" / "step-20")
        if user == "job":
            add_run(session, title="reads it", state="running", values={"reads": {"path": folder}})
        elif user == "goes_on":
            (saved,) = checkpoints.list_checkpoints(session, run)
            lineage.record_origin(session, add_run(session, title="goes on", state="paused"), saved)
        elif user == "model":
            facts = {"architecture": "L", "size_bytes": 1, "content_hash": "y"}
            models.add_model(session, name="mine", source="local", path=folder, facts=facts)
        else:
            number = session.query(Checkpoint.id).where(Checkpoint.job_id == run).scalar()
            asked = comparisons.add_comparison(
                session, kind="compare", columns=[{"model": "starter", "checkpoint": number}], settings={}
            )
            comparisons.ask(session, asked, column=0, prompt=0, messages=[])
    with pytest.raises(Conflict):
        keeping.press(context, run, Told("delete_all"))
    assert Path(folder).exists()
    with filled.studio.registry.session() as session:
        assert jobs.job(session, run).title == "x"


def test_what_runs_or_waits_is_never_put_away(context, filled):
    for run in (filled.ids["running"], order(filled)[0]):
        for do in ("archive", "delete_all", "delete_kept", "free_now"):
            with pytest.raises(Conflict):
                keeping.press(context, run, Told(do))


# -- how far a run is ------------------------------------------------------------------------------------------------


def test_the_time_left_is_what_the_run_told_last(context, filled):
    run = filled.ids["running"]
    folder = filled.workspace.attempt(run, 1)
    with filled.writer.begin() as session:
        begun = {"started_at": utc_now(), "event_offset": 0, "invalid_lines": 0, "start_step": 0}
        session.add(Attempt(job_id=run, number=1, **begun))
    log, drawn = EventLog(folder), []
    for done, left in ((1, 900.0), (30, 2000.0), (59, None)):
        log.write("progress", done=done, total=60, unit="steps", seconds_left=left)
        with filled.writer.begin() as session:
            ingest(session, session.get_one(Attempt, (run, 1)), folder)
        drawn.append(page.draw(context, {"run": str(run)})[6])
    first, second, last = drawn
    minutes = [context.say("common.left", time=duration_text(left, context.language)) for left in (900, 2000)]
    assert f"1 / 60 · {minutes[0]}<" in first and f"30 / 60 · {minutes[1]}<" in second and "59 / 60<" in last
