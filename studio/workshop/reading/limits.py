"""How much is read at once, and from what size on something is reported instead of read."""

MAX_ROW_BYTES = 32 << 20
"""A row longer than this is reported instead of read: it keeps memory bounded, and no conversation is that long."""
RAW_CHARACTERS_OF_LONG_ROW = 2000
CHUNK_BYTES = 1 << 20
SNIFF_BYTES = 1 << 18
"""What is looked at to tell a file's kind and encoding."""
MAX_DEPTH = 200
"""Brackets within brackets; a row nested deeper is reported, so that nothing that handles it later can overflow."""
PARQUET_BATCH_ROWS = 512
PARQUET_BATCH_BYTES = 8 << 20

MAX_UNPACKED_BYTES = 64 << 30
MAX_RATIO = 250
"""Unpacked bytes for a packed one. Rows that repeat reach 100; archives made to fill a disk, 1,000."""
RATIO_FROM_BYTES = 64 << 20
"""Below this size a high ratio does no harm."""
MAX_MEMBERS = 10_000

MAX_CELLS = 20_000_000
"""Cells of a sheet, empty ones between filled ones included: all of them are held in memory."""
MAX_SHEET_BYTES = 2 << 30

TEXT_ROW_CHARACTERS = 4000
"""Paragraphs of plain text are put together up to about this, some 1,000 tokens."""
