"""Tags, notes, archive, disk use and a wanted device of runs; an index that lists them; numbers given once."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("is_archived", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("wanted_device", sa.String(), nullable=True))
    op.add_column("jobs", sa.Column("disk_bytes", sa.Integer(), nullable=True))
    op.add_column("clock", sa.Column("last_job", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE clock SET last_job = (SELECT coalesce(max(id), 0) FROM jobs)")
    op.create_index(
        "jobs_listed",
        "jobs",
        ["kind", "is_archived", "id", "state", "title", "model_id", "dataset_version_id", "disk_bytes"],
    )
    op.create_index("jobs_by_kind_state", "jobs", ["kind", "state"])
    op.create_table(
        "job_tags",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "tag"),
    )
    op.create_index("jobs_by_tag", "job_tags", ["tag", "job_id"])
    op.create_table(
        "job_notes",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id"),
    )
