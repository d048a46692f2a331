"""Names, cardinalities and embedding sizes of categories."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..events.checks import check_counts
from ..events.errors import near
from ..events.schema import different_names

__all__ = ["CatEmbedder"]


class CatEmbedder:
    """Names, cardinalities and embedding sizes of the categorical features.

    Parameters
    ----------
    cat_names
        Names of the features, in the order of the columns.
    cat_szs
        Cardinality of each: codes run from 0 to the cardinality minus 1.
    emb_szs
        Width of each embedding; by default half the cardinality, rounded up, and at most ``max_emb_sz``.
    max_emb_sz
        Largest default width.
    emb_load_path
        Folder with embeddings saved by `CatEmbHead.save_embeds`, used as initial values.

    Raises
    ------
    ValueError
        If the lists have different lengths, a name occurs twice, or a size is not positive.

    Examples
    --------
    >>> CatEmbedder(["n_jets", "flavour"], [10, 3])
    n_jets:	10 --> 5
    flavour:	3 --> 2
    """

    def __init__(
        self,
        cat_names: Sequence[str],
        cat_szs: Sequence[int],
        emb_szs: Sequence[int] | None = None,
        max_emb_sz: int = 50,
        emb_load_path: str | Path | None = None,
    ) -> None:
        self.cat_names = different_names("cat_names", cat_names)
        for field, sizes in (("cat_szs", cat_szs), ("emb_szs", [] if emb_szs is None else emb_szs)):
            if isinstance(sizes, str) or not isinstance(sizes, Iterable):
                raise TypeError(f"{field} must be a list of whole numbers, one per category, got {sizes!r}")
            check_counts(**{f"{field}[{i}]": size for i, size in enumerate(sizes)})
        check_counts(max_emb_sz=max_emb_sz)
        if emb_szs is None:
            emb_szs = [min(max_emb_sz, (1 + int(size)) // 2) for size in cat_szs]
        if not len(cat_names) == len(cat_szs) == len(emb_szs):
            raise ValueError(
                f"cat_names, cat_szs and emb_szs must be equally long, got {len(cat_names)}, {len(cat_szs)} and "
                f"{len(emb_szs)}"
            )
        self.cat_szs = [int(size) for size in cat_szs]
        self.emb_szs = [int(size) for size in emb_szs]
        self.max_emb_sz = max_emb_sz
        self.emb_load_path = None if emb_load_path is None else Path(emb_load_path)

    @property
    def n_cat_in(self) -> int:
        """Number of categorical features."""
        return len(self.cat_names)

    @classmethod
    def from_fy(
        cls,
        fy: Any,
        emb_szs: Sequence[int] | None = None,
        max_emb_sz: int = 50,
        emb_load_path: str | Path | None = None,
    ) -> "CatEmbedder":
        """Take names and cardinalities from a data set, such as `lumigraph.data.EventDataset`.

        A cardinality is one more than the largest code in the data set: pass all events, or a later event may have a
        code beyond the embedding.
        """
        if not hasattr(fy, "cat_szs"):
            raise TypeError(
                f"fy must be an EventDataset, got {type(fy).__name__}: read one with EventDataset.from_file"
            )
        return cls(fy.schema.cat_feats, fy.cat_szs(), emb_szs, max_emb_sz, emb_load_path)

    def __getitem__(self, key: int | str) -> tuple[int, int]:
        if isinstance(key, str) and key not in self.cat_names:
            raise KeyError(f"key must be a category, got {key!r}: {near(key, self.cat_names)}")
        i = self.cat_names.index(key) if isinstance(key, str) else key
        return self.cat_szs[i], self.emb_szs[i]

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        return zip(self.cat_names, self.cat_szs, self.emb_szs, strict=True)

    def __repr__(self) -> str:
        return "\n".join(f"{name}:\t{size} --> {width}" for name, size, width in self)
