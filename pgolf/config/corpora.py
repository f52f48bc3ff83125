"""Every corpus of a command prepared, opened and checked once, before the first run is started."""

import json
from collections.abc import Iterable

from pgolf.config.build import build_data
from pgolf.config.schema import Config
from pgolf.data.loaded import load_corpus


def check_corpora(configs: Iterable[Config]) -> None:
    """Raises PgolfError where a corpus cannot be made, is damaged, or its bytes per token would be counted wrong.

    Configurations that differ in the order of training windows alone share a corpus. A run in this process takes the
    last one as it is.
    """
    known: set[str] = set()
    for config in configs:
        data = {key: value for key, value in config.data.items() if key != "shuffle_seed"}
        if (key := json.dumps([data, config.paths.cache], sort_keys=True)) not in known:
            known.add(key)
            load_corpus(build_data(config).prepare())
