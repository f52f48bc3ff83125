"""This computer: its files, cores and memory. Nothing here knows of models or studies, and nothing imports torch."""
