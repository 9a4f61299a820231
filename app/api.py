"""Our own JSON endpoints and static files, beside Gradio's.

    GET  /api/health              whether this is a studio, and which
    GET  /api/series              points of a chart (see `app.series`)
    POST /api/do/<verb>           a verb of the desk, for the command line; needs the token of server.json
    GET  /static/...              our style sheet and scripts, and uPlot's from the installed package

`/api/do` takes a JSON object of the verb's arguments and answers {"result": ...}, or status 422 (refused) or 500
(failed) with {"error": {"kind", "code", "values", "faults"}}, from which the caller rebuilds
the error in its own language.
"""

import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from app.series import SeriesCache, SeriesQuery
from studio.db.engine import Reader
from studio.desk import Desk
from studio.errors import RefusedInput, SpecRefused, StudioError

VERBS = frozenset(
    {
        "import_dataset",
        "revise_dataset",
        "rollback_dataset",
        "look_dataset",
        "clean_dataset",
        "check_dataset",
        "split_dataset",
        "mix_datasets",
        "balance_dataset",
        "order_dataset",
        "check_difficulty",
        "augment_dataset",
        "write_rows",
        "choose_answers",
        "accept_rows",
        "restore_rows",
        "diff_datasets",
        "export_dataset",
        "push_dataset",
        "pull_dataset",
        "note_version",
        "save_recipe",
        "remove_recipe",
        "add_model",
        "fetch_model",
        "unpack_model",
        "inspect",
        "train",
        "train_pipeline",
        "stop_pipeline",
        "resume_pipeline",
        "next_stage",
        "baseline",
        "carry_system_prompt",
        "try_reward",
        "rate_samples",
        "pairs_of_marks",
        "pairs_of_ratings",
        "export_checkpoint",
        "combine_checkpoints",
        "stop",
        "save_now",
        "pause",
        "resume",
        "move",
        "set_device",
        "rule_queue",
        "cancel_waiting",
        "duplicate",
        "try_again",
        "train_grid",
        "go_on",
        "begin_anew",
        "try_smaller",
        "try_slower",
        "rename",
        "tag_run",
        "note_run",
        "archive",
        "free_space",
        "remove",
        "compare",
        "chat",
        "vote",
        "keep_preference",
        "keep_token",
        "forget_token",
        "limit_uploads",
        "stay",
        "predict",
        "probe_memory",
        "teach_quality",
        "labelling.open_round",
        "labelling.edit_guide",
        "labelling.close_round",
        "labelling.undo",
        "labelling.mark_row",
        "labelling.decide_row",
        "labelling.import_marks",
        "labelling.would",
        "labelling.apply_marks",
    }
)
STATIC = Path(__file__).parent / "static"
_MOST = (1 << 63) - 1
_DEEPEST = 50
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Studio:
    """What the server serves: one workspace's desk and registry, and the token that a command must show."""

    desk: Desk
    registry: Reader
    token: str


def router(studio: Studio) -> APIRouter:
    """All routes of this module."""
    routes = APIRouter()
    cache = SeriesCache(studio.registry)

    @routes.get("/api/health")
    async def health() -> Response:
        return _json({"studio": "luthier", "workspace": str(studio.desk.workspace.root)})

    @routes.get("/api/series")
    def series(request: Request) -> Response:
        try:
            query = SeriesQuery.parse(dict(request.query_params))
        except ValueError as error:
            return _json({"error": str(error)}, 422)
        return _json(cache.answer(query))

    @routes.post("/api/do/{verb}")
    async def do(verb: str, request: Request) -> Response:
        if not _is_allowed(request.headers.get("authorization"), studio.token):
            return _json({"error": {"kind": "RefusedInput", "code": "server.token", "values": {}}}, 401)
        if verb not in VERBS:
            return _json({"error": {"kind": "RefusedInput", "code": "server.verb", "values": {"verb": verb}}}, 404)
        body = await request.body()
        return await run_in_threadpool(_perform, attrgetter(verb)(studio.desk), body)

    @routes.get("/static/{name}")
    def static(name: str) -> Response:
        path = static_files().get(name)
        if path is None:
            return Response(status_code=404)
        return FileResponse(path, headers={"Cache-Control": "public, max-age=31536000, immutable"})

    @routes.get("/favicon.ico")
    def icon() -> Response:
        return FileResponse(STATIC / "icon.svg")

    return routes


def static_files() -> dict[str, Path]:
    """Every file that `/static/` serves, by name. uPlot's package is located, not imported."""
    package = find_spec("uplot")
    assert package is not None and package.origin is not None
    uplot = Path(package.origin).parent / "static"
    files = {name: uplot / name for name in ("uPlot.iife.js", "uPlot.min.css")}
    return files | {path.name: path for path in STATIC.iterdir()}


def _perform(verb: Callable[..., Any], body: bytes) -> Response:
    try:
        arguments = checked(verb, msgspec.json.decode(body or b"{}", type=dict[str, Any]))
        return _json({"result": verb(**arguments)})
    except StudioError as error:
        return _json({"error": _as_json(error)}, 422 if isinstance(error, RefusedInput) else 500)
    except (msgspec.MsgspecError, TypeError) as error:
        values = {"detail": str(error)}
        return _json({"error": {"kind": "RefusedInput", "code": "server.arguments", "values": values}}, 422)
    except Exception:
        _log.exception("verb %s failed", verb.__name__)
        return _json({"error": {"kind": "Failure", "code": "server.unexpected", "values": {}}}, 500)


def checked(verb: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, each of the kind that the verb's signature names.

    Raises:
        msgspec.ValidationError: one is of another kind, or a number that no registry holds.
    """
    hints = get_type_hints(verb)
    known = {name: value for name, value in arguments.items() if name in hints}
    _refuse_unholdable(list(arguments.values()))
    for name, value in known.items():
        msgspec.convert(value, str if Path in get_args(hints[name]) else hints[name])
    return arguments


def _refuse_unholdable(value: Any, depth: int = 0) -> None:
    """Whole numbers of more than 64 bits, texts that are no file's name and no row's either, and endless nesting."""
    if depth > _DEEPEST:
        raise msgspec.ValidationError("nested too deep")
    if isinstance(value, int) and not -_MOST <= value <= _MOST:
        raise msgspec.ValidationError("a number is too large")
    if isinstance(value, str) and "\0" in value:
        raise msgspec.ValidationError("a text holds a zero byte")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_unholdable(each, depth + 1)


def _as_json(error: StudioError) -> dict[str, Any]:
    faults = error.faults if isinstance(error, SpecRefused) else []
    listed = [{"field": fault.field, "code": fault.code, "values": fault.values} for fault in faults]
    return {"kind": type(error).__name__, "code": error.code, "values": error.values, "faults": listed}


def _is_allowed(header: str | None, token: str) -> bool:
    return hmac.compare_digest((header or "").encode(), f"Bearer {token}".encode())


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value, enc_hook=str), status, media_type="application/json")
