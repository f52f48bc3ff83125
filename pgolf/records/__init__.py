"""What lies on disk of a run or a sweep: records, plans, events, rows. No torch."""
