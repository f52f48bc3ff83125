"""A study in pictures: what they show (`numbers`), how each is drawn (`lines`, `forest`, `points`, `order`), all of
them (`gallery`), as SVG or PNG (`export`). Nothing here keeps state: figures are objects, pyplot is never imported."""
