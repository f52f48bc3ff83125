"""Preparation of a corpus: documents, tokenizer, token shards and the cache."""
