"""FineWeb from a hub: the real client, in a separate process, with a real local HTTP server."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece

from pgolf.data.fineweb import FineWeb
from pgolf.data.loaded import load_corpus
from pgolf.data.shards import read_shard, write_shard
from pgolf.data.tokenizer import encode_documents
from pgolf.errors import DataError, OptionError

_spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
assert _spec is not None
assert _spec.loader is not None
hub_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hub_server)

REPO = "someone/golf"
FOLDER = "datasets/datasets/fineweb10B_sp400"
TRAIN_0, TRAIN_1, VAL = (f"{FOLDER}/fineweb_{part}.bin" for part in ("train_000000", "train_000001", "val_000000"))

CLIENT = """
import json, sys
from pathlib import Path
from pgolf.data.fineweb import FineWeb
from pgolf.errors import DataError
try:
    corpus = FineWeb(Path(sys.argv[1]), **json.loads(sys.argv[2])).prepare()
    print(json.dumps({"name": corpus.name, "train": [str(p) for p in corpus.train_shards]}))
except DataError as error:
    print(json.dumps({"error": str(error)}))
"""


def _options(**changed: object) -> dict[str, Any]:
    given = {
        "variant": "sp400",
        "train_shards": 2,
        "repo": REPO,
        "revision": "main",
        "vocab_size": 400,
        "shuffle_seed": None,
    }
    return {**given, **changed}


def _prepare(cache: Path, endpoint: str, repo_root: Path, **changed: object) -> dict[str, Any]:
    """The result of `prepare` in a new process, as the client library reads its environment when it is imported."""
    environment = {
        name: value for name, value in os.environ.items() if "proxy" not in name.lower() and not name.startswith("HF_")
    }
    environment |= {"PYTHONPATH": str(repo_root), "HF_ENDPOINT": endpoint, "HF_HOME": str(cache / "home")}
    environment |= {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "5",
    }
    command = [sys.executable, "-c", CLIENT, str(cache), json.dumps(_options(**changed))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "stderr": done.stderr}


@pytest.fixture
def server(tmp_path: Path, tokenizer: sentencepiece.SentencePieceProcessor, sample_text: str) -> Iterator[Any]:
    tokens = np.concatenate(encode_documents(tokenizer, sample_text.split("\n\n")))
    files = {}
    for name, part in ((TRAIN_0, tokens[:9000]), (TRAIN_1, tokens[9000:16_000]), (VAL, tokens[16_000:20_000])):
        write_shard(tmp_path / "shard.bin", part)
        files[name] = (tmp_path / "shard.bin").read_bytes()
    files["datasets/tokenizers/t400.model"] = tokenizer.serialized_model_proto()
    manifest = {
        "datasets": [
            {"name": "fineweb10B_sp400", "tokenizer_name": "sp_400", "stats": {"files_train": 2, "files_val": 1}},
            {"name": "fineweb10B_byte260", "tokenizer_name": "bytes", "stats": {"files_train": 1, "files_val": 1}},
        ],
        "tokenizers": [
            {"name": "sp_400", "model_path": "tokenizers/t400.model"},
            {"name": "bytes", "path": "tokenizers/b.json"},
        ],
    }
    files["datasets/manifest.json"] = json.dumps(manifest).encode()
    with hub_server.serving(REPO, files) as running:
        yield running


def test_download_then_offline(server: Any, tmp_path: Path, repo_root: Path) -> None:
    cache = tmp_path / "cache"
    one = _prepare(cache, server.url, repo_root, train_shards=1)
    assert len(one["train"]) == 1, one
    assert not server.gets(TRAIN_1)
    two = _prepare(cache, server.url, repo_root)
    assert len(two["train"]) == 2, two
    assert (len(server.gets(TRAIN_0)), len(server.gets(TRAIN_1)), len(server.gets(VAL))) == (1, 1, 1)
    assert [Path(path).read_bytes() for path in two["train"]] == [server.files[TRAIN_0], server.files[TRAIN_1]]
    requests_before = len(server.requests)
    corpus = FineWeb(cache, **_options()).prepare()  # all files are here, so in this process, without an endpoint
    assert len(server.requests) == requests_before
    assert len(load_corpus(corpus).val_tokens) == 4000
    assert (
        json.loads((cache / "hub" / "someone--golf" / "main" / "source.json").read_text())["commit"]
        == hub_server.COMMIT
    )


def test_a_dropped_connection_is_resumed(server: Any, tmp_path: Path, repo_root: Path) -> None:
    """Half of a shard of 24 MB arrives. The client keeps complete blocks of 10 MiB and requests the rest."""
    write_shard(tmp_path / "large.bin", np.tile(np.arange(4, 400), 30_000))
    server.files[TRAIN_0] = (tmp_path / "large.bin").read_bytes()
    server.drops[TRAIN_0] = 1
    result = _prepare(tmp_path / "cache", server.url, repo_root)
    assert Path(result["train"][0]).read_bytes() == server.files[TRAIN_0]
    assert server.gets(TRAIN_0) == [None, f"bytes={10 * 2**20}-"]


def test_after_a_failure_finished_files_are_kept(server: Any, tmp_path: Path, repo_root: Path) -> None:
    content = server.files.pop(TRAIN_1)
    failed = _prepare(tmp_path / "cache", server.url, repo_root)
    assert "fineweb_train_000001.bin (revision main): cannot be downloaded" in failed["error"]
    assert "Check the network, HF_ENDPOINT" in failed["error"]
    server.files[TRAIN_1] = content
    assert len(_prepare(tmp_path / "cache", server.url, repo_root)["train"]) == 2
    assert len(server.gets(TRAIN_0)) == 1


def test_a_damaged_download_is_repeated_once(server: Any, tmp_path: Path, repo_root: Path) -> None:
    server.damages[TRAIN_0] = 1
    result = _prepare(tmp_path / "cache", server.url, repo_root)
    assert "train" in result, result
    assert "not a token shard" in result["stderr"]
    assert len(server.gets(TRAIN_0)) == 2


def test_a_download_that_stays_damaged_is_an_error(server: Any, tmp_path: Path, repo_root: Path) -> None:
    server.damages[VAL] = 9
    result = _prepare(tmp_path / "cache", server.url, repo_root)
    assert "downloaded twice and is damaged both times" in result["error"]
    assert "fineweb_val_000000.bin" in result["error"]
    assert len(server.gets(VAL)) == 2


def test_a_file_damaged_later_is_fetched_again(server: Any, tmp_path: Path, repo_root: Path) -> None:
    shard = Path(_prepare(tmp_path / "cache", server.url, repo_root)["train"][0])
    shard.write_bytes(shard.read_bytes()[:-2])
    _prepare(tmp_path / "cache", server.url, repo_root)
    assert len(read_shard(shard)) == 9000


def test_missing_entries_of_the_manifest(server: Any, tmp_path: Path, repo_root: Path) -> None:
    unknown = _prepare(tmp_path / "cache", server.url, repo_root, variant="sp512", vocab_size=512)
    assert unknown["error"].endswith("has no variant 'sp512'. Choose one of byte260, sp400")
    many = _prepare(tmp_path / "cache", server.url, repo_root, train_shards=3)
    assert "sp400 has 2 training shards, not 3. Give at most 2" in many["error"]
    other = _prepare(tmp_path / "cache", server.url, repo_root, variant="byte260", vocab_size=260, train_shards=1)
    assert "byte260 has no SentencePiece model" in other["error"]


def test_no_server(tmp_path: Path, repo_root: Path) -> None:
    result = _prepare(tmp_path / "cache", "http://127.0.0.1:9", repo_root)
    assert "someone/golf/datasets/manifest.json (revision main): cannot be downloaded" in result["error"]
    assert "Check the network, HF_ENDPOINT" in result["error"]


def test_without_the_client_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DataError, match=r"pip install pgolf\[hub\]"):
        FineWeb(tmp_path, **_options()).prepare()


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("variant", "a/b", "such as sp1024"),
        ("train_shards", 0, "at least 1"),
        ("repo", "golf", "owner/name"),
        ("revision", "", "branch, tag or commit"),
        ("vocab_size", 1024, "variant sp400 has 400 pieces"),
    ],
)
def test_options(tmp_path: Path, key: str, value: object, remedy: str) -> None:
    with pytest.raises(OptionError, match=remedy) as caught:
        FineWeb(tmp_path, **_options(**{key: value}))
    assert caught.value.key == key
