"""Numbers of checkpoints given once: an old chat names its checkpoint by number, and must never find another one."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
_HIGHEST = """
    UPDATE clock SET last_checkpoint = max(
        (SELECT coalesce(max(id), 0) FROM checkpoints),
        (SELECT coalesce(max(json_extract(value, '$.checkpoint')), 0) FROM comparisons, json_each(comparisons.columns)),
        (SELECT coalesce(max(json_extract(data, '$.checkpoint')), 0) FROM job_events WHERE type = 'lineage')
    )
"""


def upgrade() -> None:
    op.add_column("clock", sa.Column("last_checkpoint", sa.Integer(), nullable=False, server_default="0"))
    op.execute(_HIGHEST)
