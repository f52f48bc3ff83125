"""The corpus of an audited run: looked up in the user's cache by its hash, so that a file decides about no place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgolf.config.build import build_data
from pgolf.config.schema import Config
from pgolf.data.loaded import LoadedCorpus, data_sha256, load_corpus
from pgolf.data.prepare.cache import MANIFEST, nothing_new, open_entry, read_manifest
from pgolf.data.prepare.pipeline import TOKENIZER_FILE, corpus_of
from pgolf.errors import DataError, PgolfError
from pgolf.slots import Corpus

# Corpora whose files lie in the cache and nowhere else.
WITHIN_CACHE = ("pgolf.data.addresses.Addresses", "pgolf.data.docs.Docs", "pgolf.data.fineweb.FineWeb")
REMEDY = "Give --open-corpus if you trust config.yaml to name files"


def find_corpus(config: Config, record: Mapping[str, Any], *, opens_files: bool) -> LoadedCorpus | str:
    """The corpus of a run, or the reason why it cannot be used. Nothing is prepared or downloaded.

    opens_files: also the files that the configuration names are read and, for a folder or a pattern, listed.
    """
    try:
        with nothing_new():
            found = _by_hash(config, record)
            if found is None and (opens_files or config.data["_target_"] in WITHIN_CACHE):
                found = build_data(config).prepare()
            if found is None:
                raise DataError(
                    f"data_sha {str(record['data_sha'])[:12]} is not in the cache {config.paths.cache}, and the files "
                    f"that config.yaml names are not opened. {REMEDY}"
                )
            corpus = load_corpus(found)
    except PgolfError as error:
        return f"the corpus cannot be opened: {' '.join(str(error).split())}"
    if corpus.data_sha != record["data_sha"]:
        here, recorded = corpus.data_sha[:12], record["data_sha"][:12]
        return f"the corpus here is another one (data_sha {here}, the record has {recorded})"
    return corpus


def _by_hash(config: Config, record: Mapping[str, Any]) -> Corpus | None:
    """The prepared corpus in the cache that has the recorded hash; None if it has none."""
    for path in sorted(Path(config.paths.cache).expanduser().glob(f"*/{MANIFEST}")):
        try:
            manifest = read_manifest(path.parent)
            tokenizer = manifest.files.get(TOKENIZER_FILE)
            if tokenizer is None or record.get("tokenizer_sha") not in (None, tokenizer.sha256):
                continue
            corpus = corpus_of(open_entry(path.parent), manifest.name, config.data.get("shuffle_seed"))
            if corpus.vocab_size == config.model.vocab_size and data_sha256(corpus) == record["data_sha"]:
                return corpus
        except DataError:  # a damaged entry is not the corpus of the run
            continue
    return None
