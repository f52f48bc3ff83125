"""How a corpus is made once and cached."""
