"""Personal data in one text: where it stands, and what may stand there instead.

    find("我的邮箱是li@qq.com,电话13812345678", "email")  ->  [(5, 14)]
    mask("li@qq.com", "email", 1, "natural")              ->  "name@example.com"
    mask("138-1234-5678", "phone", 1, "natural")          ->  "138-0000-0001"
    mask("138-1234-5678", "phone", 1, "tag")              ->  "[PHONE]"

Numbers with a check digit are counted only if it is right: Chinese identity numbers (GB 11643), payment cards (Luhn),
IBANs (mod 97). What a mask leaves is never found again: example.com, 555-01xx, 192.0.2.x and 2001:db8:: are kept free
for examples (RFC 2606, NANP, RFC 5737, RFC 3849); elsewhere the digits are noughts, which no check digit allows.
Boundaries are spelled out for ASCII: between Chinese characters and digits there is no word boundary.
"""

import ipaddress
import re
from collections.abc import Callable

from studio.workshop.texts.patterns import EMAIL, MAYBE_EMAIL

KINDS = ("email", "iban", "chinese_id", "card", "ip", "phone")
"""In the order in which they are looked for: an identity number is no card, a card no phone number."""

MAYBE_PERSONAL = "|".join(
    (
        r"(?:[0-9][ ().-]{0,2}){6}[0-9]",
        MAYBE_EMAIL,
        r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4}",
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        r"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]{0,4}:",
    )
)

_BEFORE, _AFTER = r"(?<![0-9A-Za-z_/#])(?<![0-9][.,-])", r"(?![0-9A-Za-z_]|[.,-][0-9])"
_CHINESE_ID = re.compile(
    _BEFORE + r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]" + _AFTER, re.ASCII
)
_CARDS = tuple(
    re.compile(_BEFORE + digits + _AFTER, re.ASCII)
    for digits in (
        r"6\d{3}([ -])\d{4}(?:\1\d{4}){2}\1\d{1,3}",
        r"[2-6]\d{3}([ -])\d{4}(?:\1\d{4}){2}",
        r"3\d{3}([ -])\d{6}\1\d{4,5}",
        r"[2-6]\d{12,18}",
    )
)
_CARD_BRANDS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}|6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14,17}",
    re.ASCII,
)
_IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", re.ASCII)
_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28"
    " EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26"
    " IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18"
    " NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 SV28 TL23 TN24 TR26"
    " UA29 VA22 VG24 XK20"
)
_IBAN_LENGTH = {entry[:2]: int(entry[2:]) for entry in _IBAN_LENGTHS.split()}

_IPV4 = re.compile(r"(?<![0-9A-Za-z_.-])\d{1,3}(?:\.\d{1,3}){3}(?![0-9A-Za-z_-]|\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![0-9A-Za-z_:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Za-z_:])")
_VERSION_BEFORE = re.compile(
    r"(?:\bv|\bver|version|release|build|firmware|section|chapter|版本号?|固件|章节|第)[\s:：.]*\Z", re.I
)
_SMALL_OCTET = 20
"""Four numbers below it are a version or a section far more often than an address."""

_PHONES = (
    re.compile(_BEFORE + r"(?:(?:\+|00)?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}" + _AFTER, re.ASCII),
    re.compile(r"(?<![0-9A-Za-z_+)])\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){5,12}" + _AFTER, re.ASCII),
    re.compile(_BEFORE + r"(?:\+?1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}" + _AFTER, re.ASCII),
    re.compile(_BEFORE + r"(?:0\d{2,3}-|\(0\d{2,3}\) ?)\d{7,8}" + _AFTER, re.ASCII),
    re.compile(
        r"(?i:(?:phone|tel|telephone|mobile|cell|whatsapp|call me (?:at|on)|text me (?:at|on)|手机|电话|联系方式|传真)"
        r"(?:[ ]?(?:number|no|号码|号))?(?:[ ]is)?[ ]?[.:：是为]?[ ]?)(?P<number>\d{3}[ -]?\d{3,4}[ -]?\d{4})" + _AFTER,
        re.ASCII,
    ),
)
_AMERICAN = re.compile(r"(?:\+1|1[ .-])?[ .-]?\(?[2-9]\d\d\)?[ .-]?[2-9]\d\d[ .-]?\d{4}", re.ASCII)
_MASKED_PHONE = re.compile(r"0{5}\d\d\Z|55501\d\d\Z", re.ASCII)
_FREE_DOMAIN = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost)\Z", re.IGNORECASE)
_NO_DOMAIN = re.compile(r"(?:\A|\.)(?:png|jpe?g|gif|webp|svg|css|js|py|json|md|txt)\Z|\A\d+\.\d", re.IGNORECASE)


Place = tuple[int, int]


def find(text: str, kind: str) -> list[Place]:
    """Start and end of every piece of personal data of one of the `KINDS`."""
    return _FINDERS[kind](text)


def mask(value: str, kind: str, number: int, style: str) -> str:
    """What stands in place of `value`; `number` counts the different values of a row from 1."""
    if style == "tag":
        return f"[{kind.upper()}]"
    return _MASKS[kind](value, number)


# -- finding ---------------------------------------------------------------------------------------------------------


def _emails(text: str) -> list[Place]:
    return [found.span() for found in EMAIL.finditer(text) if _is_mailbox(found[0])]


def _is_mailbox(address: str) -> bool:
    name, domain = address.rsplit("@", 1)
    return name != "git" and not _FREE_DOMAIN.search(domain) and not _NO_DOMAIN.search(domain)


def _chinese_ids(text: str) -> list[Place]:
    return [found.span() for found in _CHINESE_ID.finditer(text) if is_chinese_id(found[0])]


def is_chinese_id(number: str) -> bool:
    """Is the last of the 18 characters the check character of the others? (GB 11643, ISO 7064 mod 11-2)"""
    total = sum(int(digit) * (2 ** (17 - place) % 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()


def _cards(text: str) -> list[Place]:
    places: list[Place] = []
    for pattern in _CARDS:
        found = [match.span() for match in pattern.finditer(text) if is_card(_digits(match[0]))]
        places += [place for place in found if not _overlaps(place, places)]
    return sorted(places)


def is_card(digits: str) -> bool:
    """A number of a known brand whose check digit is right (Luhn)."""
    if not _CARD_BRANDS.fullmatch(digits) or len(set(digits)) < 2:
        return False
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[::-2])) + sum(twice - 9 if twice > 9 else twice for twice in doubled)) % 10 == 0


def _ibans(text: str) -> list[Place]:
    places = []
    for found in _IBAN.finditer(text):
        end = _end_of_iban(text, found)
        if end and is_iban(text[found.start() : end].replace(" ", "")):
            places.append((found.start(), end))
    return places


def _end_of_iban(text: str, found: re.Match[str]) -> int | None:
    """Where the account number ends by its country's length; None if it does not end there."""
    left = _IBAN_LENGTH.get(found[0][:2], 0)
    for place in range(found.start(), found.end()):
        left -= text[place] != " "
        if left == 0:
            after = text[place + 1 : place + 2]
            return None if after.isascii() and after.isalnum() else place + 1
    return None


def is_iban(account: str) -> bool:
    turned = account[4:] + account[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def _ips(text: str) -> list[Place]:
    fours = [found.span() for found in _IPV4.finditer(text) if _is_public_ipv4(found, text)]
    return fours + [found.span() for found in _IPV6.finditer(text) if _is_public(found[0])]


def _is_public_ipv4(found: re.Match[str], text: str) -> bool:
    if all(int(part) < _SMALL_OCTET for part in found[0].split(".")):
        return False
    return _is_public(found[0]) and not _VERSION_BEFORE.search(text[max(0, found.start() - 16) : found.start()])


def _is_public(address: str) -> bool:
    """A home network's 192.168.1.1, a loopback or a documentation address is nobody's."""
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _phones(text: str) -> list[Place]:
    places: list[Place] = []
    for pattern in _PHONES:
        for found in pattern.finditer(text):
            start, end = found.span("number") if "number" in pattern.groupindex else found.span()
            digits = _digits(text[start:end])
            if not _overlaps((start, end), places) and 7 <= len(digits) <= 15 and not _MASKED_PHONE.search(digits):
                places.append((start, end))
    return sorted(places)


def _overlaps(place: Place, others: list[Place]) -> bool:
    return any(first < place[1] and place[0] < last for first, last in others)


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


# -- masking ---------------------------------------------------------------------------------------------------------


def _with_digits(value: str, digits: str) -> str:
    """`value` with its digits replaced one by one; spaces, hyphens and brackets stay."""
    left = iter(digits)
    return "".join(next(left) if character.isdigit() else character for character in value)


def _masked_email(value: str, number: int) -> str:
    return "name@example.com" if number == 1 else f"name{number}@example.com"


def _masked_phone(value: str, number: int) -> str:
    digits = _digits(value)
    if _AMERICAN.fullmatch(value):
        return _with_digits(value, digits[:-10] + "202555" + f"01{number % 100:02}")
    first_group = re.match(r"\D*(\d{1,3})(?!\d)", value)
    kept = min(len(first_group[1]) if first_group else 3, len(digits) - 7)
    return _with_digits(value, digits[:kept] + f"{number % 100:0{len(digits) - kept}}")


def _masked_digits(value: str, number: int) -> str:
    return _with_digits(value, "0" * len(_digits(value))).replace("X", "0").replace("x", "0")


def _masked_iban(value: str, number: int) -> str:
    return value[:2] + re.sub(r"[A-Z0-9]", "0", value[2:])


def _masked_ip(value: str, number: int) -> str:
    return f"2001:db8::{number:x}" if ":" in value else f"192.0.2.{number % 256}"


_FINDERS: dict[str, Callable[[str], list[Place]]] = {
    "email": _emails,
    "iban": _ibans,
    "chinese_id": _chinese_ids,
    "card": _cards,
    "ip": _ips,
    "phone": _phones,
}
_MASKS: dict[str, Callable[[str, int], str]] = {
    "email": _masked_email,
    "iban": _masked_iban,
    "chinese_id": _masked_digits,
    "card": _masked_digits,
    "ip": _masked_ip,
    "phone": _masked_phone,
}
