"""FineWeb from a hub: the real client, in separate processes, with a real local HTTP server."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

Client = Callable[..., dict[str, Any]]

REPO = "someone/golf"
FOLDER = "datasets/datasets/fineweb10B_sp400"
TRAIN_0, TRAIN_1, VAL = (f"{FOLDER}/fineweb_{part}.bin" for part in ("train_000000", "train_000001", "val_000000"))

CLIENT = """
import json, os, sys
from pathlib import Path
import huggingface_hub.file_download
from pgolf.data.fineweb import FineWeb
from pgolf.errors import DataError
for line in sys.stdin:
    cache, options, answer, errors = json.loads(line)
    if os.fork() == 0:
        sys.stderr = open(errors, "w", buffering=1)
        try:
            corpus = FineWeb(Path(cache), **options).prepare()
            found = {"name": corpus.name, "train": [str(p) for p in corpus.train_shards]}
        except DataError as error:
            found = {"error": str(error)}
        Path(answer).write_text(json.dumps(found))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
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


@contextmanager
def _client(endpoint: str, folder: Path, repo_root: Path) -> Iterator[Client]:
    """A function that gives the result of `prepare` in a process of its own, a fork of one that has the imports.

    The client library reads its environment when it is imported.
    """
    environment = {
        name: value for name, value in os.environ.items() if "proxy" not in name.lower() and not name.startswith("HF_")
    }
    environment |= {"PYTHONPATH": str(repo_root), "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home")}
    environment |= {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "5",
        "OPENBLAS_NUM_THREADS": "1",  # a process of one thread can be forked
    }
    command = [sys.executable, "-c", CLIENT]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def prepare(cache: Path, **changed: object) -> dict[str, Any]:
            answer, errors = folder / "answer.json", folder / "errors.txt"
            server.stdin.write(json.dumps([str(cache), _options(**changed), str(answer), str(errors)]) + "\n")
            assert server.stdout.readline() == "0\n", errors.read_text()
            return {**json.loads(answer.read_text()), "stderr": errors.read_text()}

        yield prepare
        server.stdin.close()


@pytest.fixture(scope="module")
def hub() -> Iterator[Any]:
    with hub_server.serving(REPO, {}) as running:
        yield running


@pytest.fixture(scope="module")
def prepare(hub: Any, tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Iterator[Client]:
    with _client(hub.url, tmp_path_factory.mktemp("client"), repo_root) as client:
        yield client


@pytest.fixture
def server(hub: Any, tmp_path: Path, tokenizer: sentencepiece.SentencePieceProcessor, sample_text: str) -> Any:
    """The hub with these files alone, which has answered nothing yet."""
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
    hub.files, hub.drops, hub.damages, hub.requests = files, {}, {}, []
    return hub


def test_download_then_offline(server: Any, tmp_path: Path, prepare: Client) -> None:
    cache = tmp_path / "cache"
    one = prepare(cache, train_shards=1)
    assert len(one["train"]) == 1, one
    assert not server.gets(TRAIN_1)
    two = prepare(cache)
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


def test_a_dropped_connection_is_resumed(server: Any, tmp_path: Path, prepare: Client) -> None:
    """Half of a shard of 24 MB arrives. The client keeps complete blocks of 10 MiB and requests the rest."""
    write_shard(tmp_path / "large.bin", np.tile(np.arange(4, 400), 30_000))
    server.files[TRAIN_0] = (tmp_path / "large.bin").read_bytes()
    server.drops[TRAIN_0] = 1
    result = prepare(tmp_path / "cache")
    assert Path(result["train"][0]).read_bytes() == server.files[TRAIN_0]
    assert server.gets(TRAIN_0) == [None, f"bytes={10 * 2**20}-"]


def test_after_a_failure_finished_files_are_kept(server: Any, tmp_path: Path, prepare: Client) -> None:
    content = server.files.pop(TRAIN_1)
    failed = prepare(tmp_path / "cache")
    assert "fineweb_train_000001.bin (revision main): cannot be downloaded" in failed["error"]
    assert "Check the network, HF_ENDPOINT" in failed["error"]
    server.files[TRAIN_1] = content
    assert len(prepare(tmp_path / "cache")["train"]) == 2
    assert len(server.gets(TRAIN_0)) == 1


def test_a_damaged_download_is_repeated_once(server: Any, tmp_path: Path, prepare: Client) -> None:
    server.damages[TRAIN_0] = 1
    result = prepare(tmp_path / "cache")
    assert "train" in result, result
    assert "not a token shard" in result["stderr"]
    assert len(server.gets(TRAIN_0)) == 2


def test_a_download_that_stays_damaged_is_an_error(server: Any, tmp_path: Path, prepare: Client) -> None:
    server.damages[VAL] = 9
    result = prepare(tmp_path / "cache")
    assert "downloaded twice and is damaged both times" in result["error"]
    assert "fineweb_val_000000.bin" in result["error"]
    assert len(server.gets(VAL)) == 2


def test_a_file_damaged_later_is_fetched_again(server: Any, tmp_path: Path, prepare: Client) -> None:
    shard = Path(prepare(tmp_path / "cache")["train"][0])
    shard.write_bytes(shard.read_bytes()[:-2])
    prepare(tmp_path / "cache")
    assert len(read_shard(shard)) == 9000


def test_missing_entries_of_the_manifest(server: Any, tmp_path: Path, prepare: Client) -> None:
    unknown = prepare(tmp_path / "cache", variant="sp512", vocab_size=512)
    assert unknown["error"].endswith("has no variant 'sp512'. Choose one of byte260, sp400")
    many = prepare(tmp_path / "cache", train_shards=3)
    assert "sp400 has 2 training shards, not 3. Give at most 2" in many["error"]
    other = prepare(tmp_path / "cache", variant="byte260", vocab_size=260, train_shards=1)
    assert "byte260 has no SentencePiece model" in other["error"]


def test_no_server(tmp_path: Path, repo_root: Path) -> None:
    with _client("http://127.0.0.1:9", tmp_path, repo_root) as prepare:
        result = prepare(tmp_path / "cache")
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
