"""Corpora: token shards, tokenizers and their byte tables, the training stream, and the `data` variants."""
