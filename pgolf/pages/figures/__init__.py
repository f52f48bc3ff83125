"""The pictures of a study: their numbers (`numbers`), how each kind is drawn (`lines`, `forest`, `points`, `order`),
all pictures of a study (`gallery`), and SVG and PNG files (`export`). Nothing imports pyplot.
"""
