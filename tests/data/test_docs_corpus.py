"""The docs corpus: sizes, disjointness, exact bytes, and its sources."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pgolf.data import docs
from pgolf.data.checks import describe, verify
from pgolf.data.docs import Docs
from pgolf.data.loaded import load_corpus
from pgolf.data.prepare.docstrings import documentation, package_folder, source_files, topic_documents
from pgolf.data.shards import read_shard
from pgolf.errors import DataError, OptionError
from pgolf.slots import Corpus


def test_sizes(docs_corpus: Corpus) -> None:
    facts = json.loads((docs_corpus.tokenizer.parent / "manifest.json").read_text())["facts"]
    assert 0.8 * facts["gathered_text_bytes"] < facts["train_text_bytes"] < facts["gathered_text_bytes"]
    assert 0.02 < facts["val_text_bytes"] / facts["gathered_text_bytes"] < 0.04
    assert facts["val_text_bytes"] == docs_corpus.raw_val_bytes
    assert docs_corpus.vocab_size == 1024
    assert set(facts["versions"]) == {"stdlib", "numpy"}, "the topics are from the standard library"


def test_no_64_token_window_of_validation_is_in_training(docs_corpus: Corpus) -> None:
    """An independent search: windows as byte strings in a set, every offset of both sides."""
    val = b"".join(read_shard(path).tobytes() for path in docs_corpus.val_shards)
    train = b"".join(read_shard(path).tobytes() for path in docs_corpus.train_shards)
    val_windows = {val[start : start + 128] for start in range(0, len(val) - 126, 2)}
    assert not any(train[start : start + 128] in val_windows for start in range(0, len(train) - 126, 2))


def test_verify_and_describe(docs_corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    lines = verify(docs_corpus)
    assert len(lines) == 2 + len(docs_corpus.train_shards) + len(docs_corpus.val_shards)
    assert "files have the recorded sizes and hashes" in lines[0]
    assert "verifying" in capsys.readouterr().err
    text = "\n".join(describe(docs_corpus))
    assert "bytes/token" in text
    assert "shuffled, seed 1" in text
    assert str(docs_corpus.tokenizer.parent) in text


def test_loading(docs_corpus: Corpus) -> None:
    loaded = load_corpus(docs_corpus)
    assert loaded.val_tokens.dtype == np.uint16
    assert loaded.val_tokens[0] == loaded.train[0][0] == 1
    assert loaded.val_bytes == loaded.byte_table.total_bytes(loaded.val_tokens)
    assert docs_corpus.raw_val_bytes is not None
    assert 0.85 < loaded.val_bytes / docs_corpus.raw_val_bytes <= 1  # whitespace collapses
    assert (loaded.data_sha, loaded.val_text_sha) == (
        load_corpus(docs_corpus).data_sha,
        load_corpus(docs_corpus).val_text_sha,
    )


def test_documentation_of_a_source_file() -> None:
    source = b'''
"""Module."""
if True:
    try:
        class A:
            """Class.

                indented
            """
            def f(self):
                "Method."
                def g(): "Inner."
            async def h(self): """Coroutine."""
    except E:
        def f(): "Handler."
x = """no docstring"""
add_newdoc("numpy", "name", ("attribute", """The attribute's documentation, longer than a name."""))
_C._add_docstr(torch.abs, r"""
abs(x) -> Tensor

    The absolute value, with {more}.
""".format(**common))
'''
    assert list(documentation(source)) == [
        "Module.",
        "Class.\n\nindented",
        "Method.",
        "Inner.",
        "Coroutine.",
        "Handler.",
        "The attribute's documentation, longer than a name.",
        "abs(x) -> Tensor\n\n    The absolute value, with {more}.",
    ]
    assert list(documentation(b'"""An invalid \\d escape."""')) == ["An invalid \\d escape."]
    with pytest.raises(SyntaxError):
        list(documentation(b"print 1"))


def test_sources_without_tests_and_vendored_packages() -> None:
    names = [path.relative_to(package_folder("numpy")).as_posix() for path in source_files(package_folder("numpy"))]
    assert names == sorted(names)
    assert "lib/_function_base_impl.py" in names
    assert not any("/tests/" in name or name.startswith("testing/") for name in names)
    stdlib = [path.relative_to(package_folder("stdlib")).as_posix() for path in source_files(package_folder("stdlib"))]
    assert "asyncio/tasks.py" in stdlib
    assert not any(name.startswith(("test/", "site-packages/", "ensurepip/")) for name in stdlib)


def test_topics() -> None:
    topics = {each.name: each.text for each in topic_documents()}
    assert "topics/assert" in topics
    assert len(topics) > 60


def test_a_package_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"the package no_such_package is not installed.*Install no_such_package"):
        package_folder("no_such_package")


def test_too_little_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "PACKAGES", ("numpy",))
    with pytest.raises(
        DataError, match=r"docs: the installed documentation is only [\d,]+ bytes, 8,000,000 are needed"
    ):
        Docs(tmp_path, vocab_size=1024, val_fraction=0.03, shuffle_seed=1).prepare()


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("vocab_size", 260, "give 261 to 65536"),
        ("vocab_size", 65_537, "give 261 to 65536"),
        ("val_fraction", 0.0, "above 0"),
        ("val_fraction", 0.6, "at most 0.5"),
    ],
)
def test_options(tmp_path: Path, key: str, value: float, remedy: str) -> None:
    options = {"vocab_size": 1024, "val_fraction": 0.03, "shuffle_seed": None, key: value}
    with pytest.raises(OptionError, match=remedy) as caught:
        Docs(tmp_path, **options)
    assert caught.value.key == key
