"""The functions that `import pgolf` offers to notebooks and scripts. docs/api.md describes them."""
