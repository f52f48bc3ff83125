"""From rows to groups, comparisons and tests, as numbers. Imports no torch."""
