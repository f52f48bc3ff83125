"""A head, a text and a study outside pgolf; see the README beside this package."""
