"""Other ways to ask the same, by rule, in English and Chinese.

    rephrasings("Where is the station?")  ->  {"indirect": ["Could you tell me where the station is?", ...],
                                               "polite": ["Where is the station, please?", ...]}
    rephrasings("怎么重置密码？")          ->  {"polite": ["请问怎么重置密码？", ...]}
    rephrasings("I feel sad.")            ->  {}: nothing is asked

Only one question or one request, on one line, is rephrased; a text of several sentences has too much that a frame
around one of them would change. No rule touches a word that carries meaning.
"""

import re

from studio.workshop.texts import spans
from studio.workshop.texts.synonyms import hidden

LONGEST_CHARACTERS = 200
SHORT_WORDS = 9
"""A question of at most so many words can bear a "please" at its end."""

_HAN = re.compile(r"[\u4e00-\u9fff]")
_GREETS = re.compile(
    r"(?:hi|hello|hey|dear|good (?:morning|evening|afternoon|day|night)|thanks?|thank you|please|sorry|excuse me)\b"
    r"|how (?:are|is|do|have) (?:you|it|things)(?: do| doing| going| been)?\b\W*$"
    r"|你好|您好|嗨|哈喽|请|谢|麻烦|劳驾|早上好|晚上好|怎么了|最近",
    re.IGNORECASE,
)
_POLITE = re.compile(r"\bplease\b|\bthank|\b(?:could|can|would|will) you\b|请|谢谢|能否|可否|麻烦", re.IGNORECASE)
_SECOND_SENTENCE = re.compile(r"[.!?;:…]\s+\S|[。！？；：].|\n")


def rephrasings(text: str, *, greetings: bool = False, typing: bool = False) -> dict[str, list[str]]:
    """Way -> texts that ask the same; ways that have none are left out."""
    asked = text.strip()
    if not asked or len(asked) > LONGEST_CHARACTERS or _SECOND_SENTENCE.search(asked) or spans.is_json(asked):
        return {}
    found = _chinese(asked) if _HAN.search(asked) else _english(asked)
    is_asked = any(found.get(way) for way in ("indirect", "polite", "request"))
    if is_asked and greetings and not _GREETS.match(asked):
        found["greeting"] = _greeted(asked)
    if is_asked and typing and asked.isascii():
        found["typing"] = _typed(asked)
    different = {way: [each for each in texts if each != asked] for way, texts in found.items()}
    return {way: texts for way, texts in different.items() if texts}


# -- English ---------------------------------------------------------------------------------------------------------

_NAMED = r"(?P<what>what|who|where)(?P<be> is| are| was| were)"
_THING = r"(?:the|a|an|my|your|his|her|its|our|their|this|that|these|those) "
_INDIRECT = re.compile(rf"{_NAMED} (?P<thing>{_THING}[\w'’ -]+?)\s*\?", re.IGNORECASE)
_ENDS_BADLY = re.compile(
    r"(?:\w*(?:ed|ing)|like|of|for|in|on|at|to|from|with|by|about|as|up|down|off|over|out|made|found|known|born|held|spoken"
    r"|written|sold|built|kept|worth|open|closed|free|ready|available|due|doing|wrong|called|named|there|here|than|now"
    r"|again|good|bad|better|best|also|today|really|good|most|least|alive|dead|able|famous|shown|seen|meant|sung|grown)\Z",
    re.IGNORECASE,
)
"""What is asked is then no plain "what X is": "where is the tower located", "what is it made of"."""
_CLAUSE = re.compile(
    r"\b(?:if|when|because|that|which|who|whom|whose|while|though|since|and|or|but|has|have|had|does|do|did)\b"
)
_HOW_TO = re.compile(r"how (?:do|can|should|could) (?:i|you|we|one) (?P<rest>[a-z][^?]*?)\s*\?", re.IGNORECASE)
_ABOUT_YOU = re.compile(
    r"(?:feel|think|know|like|do|work|live|get along|mean|see|look|sleep|eat|spell|pronounce|say)\b", re.IGNORECASE
)
_QUESTION = re.compile(
    r"(?:what|who|whom|whose|which|where|when|why|how)(?:['’]s|['’]re)? .+\?|in (?:what|which) .+\?", re.IGNORECASE
)
_CAN_YOU = re.compile(r"can you (?P<rest>(?:please )?(?P<verb>[a-z]+)\b.*?)\s*\?", re.IGNORECASE)
_VERBS = re.compile(
    r"add|answer|arrange|check|compare|compute|convert|correct|create|define|describe|design|develop|draft|edit|explain"
    r"|extract|find|fix|generate|give|help|identify|improve|list|make|name|organize|outline|paraphrase|prepare|propose"
    r"|prove|provide|recommend|rephrase|replace|rewrite|say|select|shorten|show|simplify|solve|sort|suggest|summarize"
    r"|tell|transform|translate|turn|update|write|analyze|calculate|classify|compose|estimate|evaluate",
    re.IGNORECASE,
)
_REQUEST = re.compile(r"(?P<verb>[A-Za-z]+) (?P<rest>[^?]+?)(?P<end>[.!]?)")
_SHORTER = (
    (re.compile(r"\b([Ww])hat is (?=the |a |an |your |my )"), r"\1hat's "),
    (re.compile(r"\bI am (?=\w)"), "I'm "),
    (re.compile(r"\bI would like\b"), "I'd like"),
    (re.compile(r"\bI will (?=\w)"), "I'll "),
    (re.compile(r"\b([Dd])o not (?=\w)"), r"\1on't "),
    (re.compile(r"\b([Dd])oes not (?=\w)"), r"\1oesn't "),
    (re.compile(r"\b([Cc])annot (?=\w)"), r"\1an't "),
)
_LONGER = (
    (re.compile(r"\b([Ww])hat['’]s (?=the |your |my )"), r"\1hat is "),
    (re.compile(r"\bI['’]m (?=\w)"), "I am "),
    (re.compile(r"\b(I|you|we|they) can['’]t (?=\w)"), r"\1 cannot "),
    (re.compile(r"\b(I|you|we|they) don['’]t (?=\w)"), r"\1 do not "),
    (re.compile(r"\b(he|she|it) doesn['’]t (?=\w)"), r"\1 does not "),
)


def _english(text: str) -> dict[str, list[str]]:
    return {
        "indirect": _indirect(text),
        "polite": _polite(text),
        "request": _request(text),
        "spelling": _spelled(text),
    }


def _indirect(text: str) -> list[str]:
    if (
        (found := _INDIRECT.fullmatch(text))
        and not _ENDS_BADLY.search(found["thing"])
        and not _CLAUSE.search(found["thing"])
    ):
        asked = f"{found['what'].lower()} {found['thing']}{found['be'].lower()}"
        framed = [f"Could you tell me {asked}?", f"Can you tell me {asked}?", f"I would like to know {asked}."]
        return framed if found["thing"].lower().startswith("your") else [*framed, f"Do you know {asked}?"]
    if (found := _HOW_TO.fullmatch(text)) and not _ABOUT_YOU.match(found["rest"]):
        rest = found["rest"]
        return [
            f"Could you tell me how to {rest}?",
            f"Can you explain how to {rest}?",
            f"I would like to know how to {rest}.",
        ]
    return []


def _polite(text: str) -> list[str]:
    if _POLITE.search(text) or _GREETS.match(text) or not _QUESTION.fullmatch(text) or len(text.split()) < 3:
        return []
    small = text[0].lower() + text[1:]
    framed = [f"I have a question: {small}", f"Could you answer this: {small}", f"Please tell me: {small}"]
    bears_please = len(text.split()) <= SHORT_WORDS and not small.startswith(("how", "why"))
    return [*framed, f"{text.rstrip('? ')}, please?"] if bears_please and text.rstrip("? ")[-1].isalnum() else framed


def _request(text: str) -> list[str]:
    if found := _CAN_YOU.fullmatch(text):
        if not _VERBS.fullmatch(found["verb"]):
            return []
        rest = found["rest"]
        return [f"Could you {rest}?", f"Please {rest}.", f"Would you {rest}?"]
    found = _REQUEST.fullmatch(text)
    if not found or not _VERBS.fullmatch(found["verb"]) or _POLITE.search(text) or found["verb"].isupper():
        return []
    asked = f"{found['verb'].lower()} {found['rest']}"
    return [
        f"Please {asked}{found['end']}",
        f"Could you {asked}?",
        f"Can you {asked}?",
        f"I need you to {asked}{found['end']}",
    ]


def _spelled(text: str) -> list[str]:
    """Contracted, or written out; quotations stay."""
    if hidden(text) != text:
        return []
    made = []
    for rules in (_SHORTER, _LONGER):
        changed = text
        for pattern, new in rules:
            changed = pattern.sub(new, changed)
        made.append(changed)
    return made


# -- Chinese ---------------------------------------------------------------------------------------------------------

_ZH_ASKS = re.compile(
    r".*(?:什么|怎么|怎样|如何|为什么|为何|哪|谁|多少|几|吗|是否|能不能|可不可以|有没有|是不是|何时|多久|多长|多大|多远).*"
)
_ZH_REQUEST = re.compile(
    r"(?P<asked>(?:帮我|给我|告诉我|介绍|解释|说明|列出|列举|写|翻译|总结|概括|推荐|描述|分析|比较|计算|生成|改写|修改|提供|举|讲|回答).+?)[。.!！]?"
)
_ZH_HELP = ("帮我", "给我", "告诉我")


def _chinese(text: str) -> dict[str, list[str]]:
    if _POLITE.search(text) or _GREETS.match(text):
        return {}
    if found := _ZH_REQUEST.fullmatch(text):
        asked = found["asked"]
        if asked.endswith(("吗", "呢", "？", "?")):
            return {}
        for_me = asked if asked.startswith(_ZH_HELP) else f"帮我{asked}"
        return {"request": [f"请{asked}。", f"能否{for_me}？", f"麻烦你{for_me}。", f"可以{for_me}吗？"]}
    if not _ZH_ASKS.fullmatch(text) or not text.endswith(("？", "?", "吗", "呢")):
        return {}
    bare = text.rstrip("？?")
    made = [f"请问{bare}？", f"请问一下，{bare}？", f"我想问一下，{bare}？"]
    if not bare.endswith(("吗", "呢")) and not bare.startswith("我") and "，" not in bare:
        made.append(f"能否告诉我{bare}？")
    return {"polite": made}


# -- both ------------------------------------------------------------------------------------------------------------


def _greeted(text: str) -> list[str]:
    if _HAN.search(text):
        return [f"你好，{text}", f"您好，{text}"]
    opening = text[0].lower() + text[1:] if text.split()[0].lower() != "i" and text[1:2].islower() else text
    thanked = [f"{text} Thanks!"] if text[-1] in ".?!" else []
    return [f"Hi, {opening}", f"Hello, {opening}", *thanked]


def _typed(text: str) -> list[str]:
    """As many people type: no mark at the end, a small letter at the beginning."""
    bare = text.rstrip("?. ")
    lowered = bare[0].lower() + bare[1:] if bare[1:2].islower() else bare
    return [bare, lowered]
