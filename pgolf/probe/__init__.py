"""The search of options before a study: the same number of trials for every arm, on a text and seeds of its own."""
