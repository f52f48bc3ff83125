"""Prepares and checks every corpus of a command before its first run starts."""

import json
from collections.abc import Iterable

from pgolf.config.build import build_data
from pgolf.config.schema import Config
from pgolf.data.loaded import load_corpus


def check_corpora(configs: Iterable[Config]) -> None:
    """Prepare and load the corpus of each configuration.

    Configurations that differ only in `data.shuffle_seed` share a corpus, which is checked once. A run in this process
    reuses the corpus that was loaded last.

    Raises PgolfError if a corpus cannot be prepared, is damaged, or if its bytes per token cannot be counted correctly.
    """
    keys: set[str] = set()
    for config in configs:
        data = {key: value for key, value in config.data.items() if key != "shuffle_seed"}
        if (key := json.dumps([data, config.paths.cache], sort_keys=True)) not in keys:
            keys.add(key)
            load_corpus(build_data(config).prepare())
