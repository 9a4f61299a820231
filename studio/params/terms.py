"""Terms that may be added to the loss, and how a run tells of them.

Each has a setting `<name>_weight`, 0 being off, and a class in `trainers.losses.kinds`.
"""

TERMS = ("diversity", "repetition", "format", "source", "rouge")
TERM_SHARE = "term_share/"
"""Before a term's name: the share of the loss that is its own."""
TASK_SHARE = "task_share/"
"""Before a category's name: the share of the loss that is its rows'."""
DOMINATES = 0.8
"""From this share on one term or task leaves little to the others. Ours."""
