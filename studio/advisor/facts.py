"""What the advisor knows before a run: the model, the data's lengths, the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.advisor.data_facts import DataFacts
from studio.db.datasets import DatasetSummary
from studio.db.speeds import MeasuredSpeed
from studio.hardware import Machine
from studio.memory.estimate import Shapes
from studio.memory.inventory import Inventory, from_figures
from studio.memory.measured import Experience
from studio.rewards.judges import Judges
from studio.rewards.kept import TriedReward


@dataclass(frozen=True)
class Lengths:
    """Tokens of the data set's rows under the model's tokenizer."""

    mean: float
    p95: int
    p99: int
    longest: int
    shortest: int | None = None
    """None where a data set was looked at before this was counted."""

    def share_cut(self, max_length: int) -> float:
        """About how many of the rows are longer than this, as a share: read between the known percentiles."""
        if max_length >= self.longest:
            return 0.0
        if max_length >= self.p99:
            return 0.01
        return 0.05 if max_length >= self.p95 else 0.5


@dataclass(frozen=True, kw_only=True)
class Facts:
    machine: Machine
    inventory: Inventory | None = None
    """None until the model was looked at."""
    max_positions: int | None = None
    """Longest text that the model was made for."""
    has_chat_template: bool = True
    rows: int | None = None
    """Rows to train on, those that a run may still hold out among them; None while no data set is chosen."""
    validation_rows: int = 0
    """Rows that the data set's own split holds out for validation: a run then holds out no others."""
    open_problems: int = 0
    """Rows left out because of a problem that nobody has settled."""
    has_difficulty: bool = False
    """The data set's rows were scored by how hard they are."""
    lengths: Lengths | None = None
    rows_refused: int | None = None
    """Of the rows looked at, those that the model's chat template does not take."""
    disk_free_bytes: int | None = None
    speeds: tuple[MeasuredSpeed, ...] = ()
    """Of finished runs on this machine, newest last."""
    experience: Experience = Experience()
    """What earlier runs took of the memory."""
    variety: float | None = None
    """Share of the rows that say something of their own; None while nobody counted."""
    json_answers: float | None = None
    """Share of the answers that are JSON."""
    unknown_markers: tuple[str, ...] = ()
    """Marks of the chat template that the tokenizer does not know as one token."""
    model_name: str = ""
    format: str = ""
    """The rows' format; empty while no data set is chosen."""
    labels: Mapping[str, int] | None = None
    """How many different answers, categories and tags could be labels; None while nobody counted."""
    is_joined: bool = False
    """Rows and lengths are those of pieces that a method makes of the rows (`studio.advisor.joined`)."""
    data: DataFacts = DataFacts()
    """What the workshop found out about the data set."""
    baseline_correct: float | None = None
    """Share of the validation rows that the untouched model answers right with its best prompt; None while nobody asked
    it, or too few of them to say."""
    baseline_suffices: bool = False
    """That is good enough as it is (`studio.evaluation.baseline`)."""
    was_tuned: bool = False
    """The model learned something before, in this studio: an earlier stage, or a run whose weights became a model."""
    reward: Mapping[str, Any] | None = None
    """The reward that was tried last on these rows, as a spec holds it."""
    rewards: Sequence[TriedReward] = ()
    """All that were tried on these rows, the newest first."""
    judges: Judges = field(default_factory=dict)
    """The models that a reward may ask."""
    tried_rewards: Mapping[str, str] = field(default_factory=dict)
    """{reward's hash: verdict} of trials on these rows with this model's answers."""

    @property
    def shapes(self) -> Shapes | None:
        return Shapes(self.lengths.longest) if self.lengths else None


def facts_from(
    inspection: Mapping[str, Any] | None, *, machine: Machine, rows: int | None, open_problems: int = 0, **known: Any
) -> Facts:
    """The facts from an inspect job's figures (None while there are none) and what the registry knows."""
    figures = inspection or {}
    inventory = figures.get("inventory")
    return Facts(
        machine=machine,
        inventory=from_figures(inventory) if inventory else None,
        max_positions=inventory.get("max_positions") if inventory else None,
        has_chat_template=inventory.get("has_chat_template", True) if inventory else True,
        rows=rows,
        open_problems=open_problems,
        lengths=_lengths(figures.get("tokens")),
        rows_refused=_refused(figures.get("tokens")),
        labels=figures.get("labels"),
        unknown_markers=tuple((inventory or {}).get("unknown_markers", ())),
        **{name: (figures.get("variety") or {}).get(name) for name in ("variety", "json_answers")},
        **known,
    )


def facts_about(
    dataset: DatasetSummary, inspection: Mapping[str, Any] | None, *, machine: Machine, **known: Any
) -> Facts:
    """As `facts_from`, with what the registry knows of the data set version."""
    return facts_from(
        inspection,
        machine=machine,
        rows=dataset.training_rows,
        validation_rows=dataset.validation_rows,
        open_problems=dataset.problems,
        has_difficulty=dataset.has_difficulty,
        format=dataset.format,
        **known,
    )


def _refused(tokens: Mapping[str, Any] | None) -> int | None:
    if not tokens or "left_out" not in tokens:
        return None
    return tokens["left_out"].get("rows_refused_by_template", {}).get("count", 0)


def _lengths(tokens: Mapping[str, Any] | None) -> Lengths | None:
    if not tokens:
        return None
    known = tokens["lengths"]
    return Lengths(
        mean=known["mean"], p95=known["p95"], p99=known["p99"], longest=known["max"], shortest=known.get("min")
    )
