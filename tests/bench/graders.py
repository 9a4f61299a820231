"""Seconds of processor that graders take: 10,000 real answers each, one after the other, on one thread.

    python -m tests.bench.graders [--answers 10000]

Answers are chatterbot-corpus's English ones, right for even rows and another row's for odd ones; graders that want a
form (JSON, SQL, numbers, labels) get answers of that form made of them.
"""

import argparse
import json
import sys
import time
from itertools import cycle, islice

from studio.graders.declared import GRADERS, HERE, declared, grade, options
from studio.graders.score import Row
from tests.unit.workshop.real_rows import corpus

CHOSEN = {
    "label": {"labels": ["refund", "delivery", "other"]},
    "contains": {"texts": ["the", "computer"], "how_many": "share"},
    "pattern": {"pattern": r"[A-Z].*[.!?]"},
    "json": {"keys": {"text": "text", "size": "number"}, "match": "values"},
    "sql": {"match": "same"},
    "similarity": {"measure": "rouge_l"},
    "python_checks": {"checks": ["not_empty", "single_line", "ends_with_stop", "no_html", "no_markdown", "is_python"]},
}
FORMS = {
    "label": lambda text, place: ("refund", "delivery", "other")[len(text) % 3],
    "numeric_match": lambda text, place: f"{text[:40]} {len(text)} km",
    "json": lambda text, place: json.dumps({"text": text, "size": len(text)}),
    "sql": lambda text, place: f"select name, size from t{len(text) % 7} where id = {place % 500}",
    "format_tags": lambda text, place: f"<think>{text}</think><answer>{len(text)}</answer>",
}


def texts(count: int) -> list[str]:
    known = [text for folder in ("trivia", "computers", "ai") for text in corpus("english", folder)["completion"]]
    return list(islice(cycle(known), count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=10_000)
    answers, total = texts(parser.parse_args().answers), 0.0
    for name in (name for name in GRADERS if declared(name).runs == HERE):
        form = FORMS.get(name, lambda text, place: text)
        wanted = [form(text, place) for place, text in enumerate(answers)]
        said = [wanted[place if place % 2 == 0 else place - 1] for place in range(len(wanted))]
        rows = [Row(question=answers[place - 1], reference=text) for place, text in enumerate(wanted)]
        chosen = options(name, CHOSEN.get(name, {}))
        grade(name, said[:10], rows[:10], chosen)  # what is imported at the first use
        began = time.process_time()
        scores = grade(name, said, rows, chosen)
        seconds = time.process_time() - began
        total += seconds
        missing = sum(each.value is None for each in scores)
        sys.stdout.write(
            f"{name:<16} {seconds:7.2f} s  {1e6 * seconds / len(said):8.1f} µs an answer, {missing} missing\n"
        )
    sys.stdout.write(f"{'all':<16} {total:7.2f} s for {len(answers):,} answers\n")


if __name__ == "__main__":
    main()
