"""The login page and what it is posted to; plain HTML that needs none of the studio's other files.

GET  /login?next=/en/runs     the form; with ?code=... that code is tried at once
POST /login                   secret and next, as a form
POST /logout                  ends the session of this browser
"""

import base64
import hashlib
from html import escape
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from app.access import SESSION_SECONDS, Access, TooManyTries
from app.i18n import COOKIE, choose_language
from studio.messages import LANGUAGES, say

_LONGEST_FORM = 8192
_DEVICE_SECONDS = 365 * 86_400
_STYLE = """
:root { color-scheme: light dark; --page: #faf8f4; --card: #fff; --line: #e7e1d8; --ink: #22252a; --soft: #5f636a;
  --accent: #b25e1a; --on: #fff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #16171a; --card: #1e2024; --line: #33363c; --ink: #eceae6;
  --soft: #9ea3ab; --accent: #e0904a; --on: #16171a; --bad: #f2867e; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 16px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, "Noto Sans SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
main { width: 100%; max-width: 400px; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 24px; }
header { display: flex; justify-content: space-between; align-items: baseline; margin-bottom: 16px; }
header b { font-size: 18px; font-weight: 650; color: var(--accent); }
header a { color: var(--soft); font-size: 13px; }
h1 { font-size: 22px; font-weight: 650; margin: 0 0 4px; }
p { margin: 0 0 16px; color: var(--soft); overflow-wrap: anywhere; }
p.bad { color: var(--bad); border-left: 3px solid; padding-left: 12px; }
label { display: block; font-weight: 600; margin-bottom: 4px; }
input { width: 100%; font: inherit; padding: 8px 12px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--page); color: var(--ink); }
button { width: 100%; margin-top: 16px; font: inherit; font-weight: 600; padding: 8px 20px; border: 0;
  border-radius: 10px; background: var(--accent); color: var(--on); cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
"""
_STYLE_MARK = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_MARK}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Login:
    """The routes around one `Access`; `answer` gives None for any path that is not theirs."""

    def __init__(self, access: Access, *, port: int) -> None:
        self._access = access
        # Browsers share cookies among the ports of a host, and two studios may run on one machine.
        self._cookie = f"luthier_session_{port}"
        self._device_cookie = f"luthier_device_{port}"

    def is_in(self, request: Request) -> bool:
        session = request.cookies.get(self._cookie)
        return session is not None and self._access.knows(session)

    async def answer(self, request: Request) -> Response | None:
        """What `/login` and `/logout` say."""
        path, method = request.url.path, request.method
        if path == "/logout" and method == "POST":
            return self._leave(request)
        if path != "/login" or method not in ("GET", "HEAD", "POST"):
            return None
        if method == "POST":
            form = parse_qs(await _read(request), keep_blank_values=True, max_num_fields=10)
            return await self._try(request, form.get("secret", [""])[0].strip(), form.get("next", [""])[0])
        wanted = request.query_params.get("next", "")
        code = request.query_params.get("code", "")
        if self.is_in(request):
            return RedirectResponse(inside(wanted), 303)
        return await self._try(request, code, wanted) if code else self._page(request, wanted)

    def turned_away(self, request: Request) -> Response:
        """For everything else without a session: a person gets the form, a program a sentence."""
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            query = urlencode({"next": wanted}) if wanted != "/" else ""
            return RedirectResponse(f"/login?{query}" if query else "/login", 303)
        return Response(say("login.needed", _language(request)), 401, media_type="text/plain")

    async def _try(self, request: Request, secret: str, wanted: str) -> Response:
        address = request.client.host if request.client else "?"
        try:
            device = request.cookies.get(self._device_cookie, "")
            session = await run_in_threadpool(self._access.enter, secret, address=address, device=device)
        except TooManyTries as refused:
            page = self._page(request, wanted, 429, "login.too_many", seconds=refused.seconds)
            page.headers["Retry-After"] = str(refused.seconds)
            return page
        if session is None:
            return self._page(request, wanted, 401, f"login.wrong.{self._access.asks_for}")
        answer = RedirectResponse(inside(wanted), 303)
        kept = {"httponly": True, "samesite": "strict"}
        answer.set_cookie(self._cookie, session, max_age=int(SESSION_SECONDS), **kept)
        mark = self._access.mark_device()
        answer.set_cookie(self._device_cookie, mark, max_age=_DEVICE_SECONDS, path="/login", **kept)
        return answer

    def _leave(self, request: Request) -> Response:
        self._access.leave(request.cookies.get(self._cookie, ""))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self._cookie, httponly=True, samesite="strict")
        return answer

    def _page(
        self, request: Request, wanted: str, status: int = 200, fault: str = "", **values: object
    ) -> HTMLResponse:
        language = _language(request)
        other = next(each for each in LANGUAGES if each != language)
        asks_for = self._access.asks_for
        switch = urlencode({"language": other} | ({"next": wanted} if wanted else {}))
        bad = f'<p class="bad" role="alert">{escape(say(fault, language, **values))}</p>' if fault else ""
        page = (
            f'<!doctype html><html lang="{"zh-CN" if language == "zh" else "en"}"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(say('login.title', language))} · Luthier</title><style>{_STYLE}</style></head><body><main>"
            f'<header><b>Luthier</b><a href="/login?{escape(switch)}" hreflang="{other}">'
            f"{escape(say('common.other_language', language))}</a></header>"
            f"<h1>{escape(say('login.title', language))}</h1>"
            f"<p>{escape(say(f'login.note.{asks_for}', language))}</p>{bad}"
            f'<form method="post" action="/login"><input type="hidden" name="next" value="{escape(wanted)}">'
            f'<label for="secret">{escape(say(f"login.field.{asks_for}", language))}</label>'
            '<input id="secret" name="secret" type="password" autocomplete="current-password" required autofocus>'
            f"<button>{escape(say('login.enter', language))}</button></form></main></body></html>"
        )
        return HTMLResponse(page, status, headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store"})


def inside(wanted: str) -> str:
    """A path of this studio, else its first page: `//evil.example` and `https:...` lead nowhere."""
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    is_path = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if is_path and not parts.scheme and not parts.netloc else "/"


def logout_form(words: str) -> str:
    """A button for any page."""
    return f'<form method="post" action="/logout"><button class="lu-second">{escape(words)}</button></form>'


def _language(request: Request) -> str:
    asked = request.query_params.get("language")
    return (
        asked
        if asked in LANGUAGES
        else choose_language(request.cookies.get(COOKIE), request.headers.get("accept-language"))
    )


async def _read(request: Request) -> str:
    """The form's text, as far as a form of ours can be long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return ""
    return body.decode("utf-8", "replace")
