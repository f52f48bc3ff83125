"""A corpus whose text lies in this package."""

from pathlib import Path

from pgolf.data.text import Text


class Sums(Text):
    """Additions in words: `sums.txt` of this package, read like every text of the user."""

    def __init__(self, cache_dir: Path, *, vocab_size: int, val_fraction: float, shuffle_seed: int | None):
        super().__init__(
            cache_dir,
            path=str(Path(__file__).parent / "sums.txt"),
            files="*",
            document_separator=None,
            vocab_size=vocab_size,
            val_fraction=val_fraction,
            shuffle_seed=shuffle_seed,
        )
