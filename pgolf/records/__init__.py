"""The files that runs and sweeps leave on disk: records, plans, events and rows. Imports no torch."""
