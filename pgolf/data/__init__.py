"""Corpora: the official shard format, tokenizers and their byte tables, the training stream, and the four `data`
variants.

Layer 2 here: shards, tokenizer, bpe, stream, overlap, documents, pipeline, docstrings, cache, hub, loaded, checks.
Layer 3 (one variant each, importing only the former): docs, text, shard_files, fineweb.
"""
