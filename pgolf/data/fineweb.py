"""FineWeb in the challenge's export: token shards and tokenizers from a dataset on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pgolf.data.prepare.hub import HubFolder
from pgolf.data.prepare.token_ids import check_token_ids
from pgolf.data.progress import say
from pgolf.data.shards import token_count
from pgolf.data.tokenizer import load_tokenizer, load_tokenizer_of_size
from pgolf.errors import DamagedFile, DataError, require
from pgolf.machine.plain import read_json
from pgolf.slots import Corpus

_MANIFEST = "datasets/manifest.json"
_PREFIX = "fineweb10B_"


class FineWeb:
    """The first `train_shards` training shards of 100,000,000 tokens, all validation shards, and their tokenizer.

    variant: `sp1024`, `sp4096`, ...; the download checks that it exists. repo, revision: the dataset repository on the
    hub. vocab_size: pieces of the variant's tokenizer. shuffle_seed: seed of the order of training windows; null keeps
    the published order. Files are stored below `hub/` in the cache folder. Only missing files are downloaded; if none
    is missing, no network is used.
    """

    name = "fineweb"

    def __init__(
        self,
        cache_dir: Path,
        *,
        variant: str,
        train_shards: int,
        repo: str,
        revision: str,
        vocab_size: int,
        shuffle_seed: int | None,
    ) -> None:
        require(
            bool(re.fullmatch(r"[A-Za-z0-9._-]+", variant)), "variant", variant, "give a variant's name such as sp1024"
        )
        require(train_shards >= 1, "train_shards", train_shards, "give at least 1")
        require(
            bool(re.fullmatch(r"[\w.-]+/[\w.-]+", repo)),
            "repo",
            repo,
            "give owner/name of a dataset on the Hugging Face hub",
        )
        require(bool(revision.strip()) and ".." not in revision, "revision", revision, "give a branch, tag or commit")
        size_in_name = re.fullmatch(r"sp(\d+)", variant)
        require(
            size_in_name is None or int(size_in_name[1]) == vocab_size,
            "vocab_size",
            vocab_size,
            f"variant {variant} has {size_in_name and size_in_name[1]} pieces",
        )
        require(2 <= vocab_size <= 65_536, "vocab_size", vocab_size, "give the tokenizer's size, 2 to 65536")
        self.cache_dir, self.variant, self.train_shards = cache_dir, variant, train_shards
        self.repo, self.revision, self.vocab_size, self.shuffle_seed = repo, revision, vocab_size, shuffle_seed

    @property
    def folder(self) -> Path:
        """The local folder of the repository's files."""
        return self.cache_dir / "hub" / self.repo.replace("/", "--") / self.revision.replace("/", "--")

    def absent(self) -> str | None:
        """A message that a run has to download the corpus first; None if the manifest is here already."""
        return (
            None
            if (self.folder / _MANIFEST).exists()
            else f"data: {self.repo} is not in {self.folder} yet; the first run downloads it"
        )

    def prepare(self) -> Corpus:
        """The corpus, after missing files were downloaded and all files were checked.

        Raises DataError for an unknown variant, too many shards, damaged files or a failed download.
        """
        hub = HubFolder(self.folder, self.repo, self.revision)
        manifest = _read_manifest(hub.fetch(_MANIFEST, _read_manifest))
        dataset = self._dataset(manifest)
        tokenizer = hub.fetch(f"datasets/{self._model_path(manifest, dataset)}", load_tokenizer)
        val = self._fetch_shards(hub, dataset, "val", _count(dataset, "files_val"))
        train = self._fetch_shards(hub, dataset, "train", self.train_shards)
        load_tokenizer_of_size(tokenizer, self.vocab_size)
        check_token_ids(self.cache_dir, (*train, *val), self.vocab_size)
        return Corpus(
            name=f"{self.name}-{self.variant}",
            train_shards=train,
            val_shards=val,
            tokenizer=tokenizer,
            vocab_size=self.vocab_size,
            shuffle_seed=self.shuffle_seed,
        )

    def _dataset(self, manifest: Mapping[str, list[dict[str, object]]]) -> dict[str, object]:
        """The manifest's entry of the variant. Raises DataError if it does not exist or has too few training shards."""
        variants = {str(each.get("name")).removeprefix(_PREFIX): each for each in manifest["datasets"]}
        if self.variant not in variants:
            raise DataError(
                f"data.variant: {self.repo} has no variant {self.variant!r}. Choose one of "
                f"{', '.join(sorted(variants))}"
            )
        available = _count(variants[self.variant], "files_train")
        if self.train_shards > available:
            raise DataError(
                f"data.train_shards: {self.variant} has {available} training shards, not {self.train_shards}. Give at "
                f"most {available}"
            )
        return variants[self.variant]

    def _fetch_shards(self, hub: HubFolder, dataset: Mapping[str, object], part: str, count: int) -> tuple[Path, ...]:
        names = [f"datasets/datasets/{dataset['name']}/fineweb_{part}_{index:06d}.bin" for index in range(count)]
        missing = sum(not (hub.folder / name).exists() for name in names)
        if missing:
            say(f"downloading {missing} of {count} {part} shards of {dataset['name']} to {hub.folder} ...")
        return tuple(hub.fetch(name, token_count) for name in names)

    def _model_path(self, manifest: Mapping[str, list[dict[str, object]]], dataset: Mapping[str, object]) -> str:
        """Path of the variant's SentencePiece model below `datasets/`."""
        for each in manifest["tokenizers"]:
            if each.get("name") == dataset.get("tokenizer_name"):
                if isinstance(path := each.get("model_path"), str):
                    return path
                raise DataError(
                    f"data.variant: {self.variant} has no SentencePiece model, and other tokenizers are not supported. "
                    "Use an sp variant"
                )
        raise DataError(
            f"{self.repo}/{_MANIFEST}: no tokenizer {dataset.get('tokenizer_name')!r} for {self.variant}. Choose "
            "another revision"
        )


def _read_manifest(path: Path) -> dict[str, list[dict[str, object]]]:
    """The repository's lists of datasets and tokenizers. Raises DataError for a file of another content."""
    try:
        manifest: dict[str, list[dict[str, object]]] = read_json(path)
        for part in ("datasets", "tokenizers"):
            entries = manifest.get(part) if isinstance(manifest, dict) else None
            if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
                raise ValueError(f"{part} is not a list of tables")
    except (OSError, ValueError, DamagedFile) as error:
        raise DataError(
            f"{path}: not a manifest of datasets and tokenizers ({error}). Delete it and download again"
        ) from error
    return manifest


def _count(dataset: Mapping[str, object], which: str) -> int:
    """A count in the statistics of a manifest entry, such as `files_train`. Raises DataError if it is not positive."""
    stats = dataset.get("stats")
    count = stats.get(which) if isinstance(stats, dict) else None
    if not isinstance(count, int) or count < 1:
        raise DataError(f"{_MANIFEST}: {dataset.get('name')} has {which} {count!r}. Choose another variant or revision")
    return count
