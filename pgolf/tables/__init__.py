"""From rows to groups, comparisons and tests. Numbers only, no torch."""
