"""Results for readers: tables, figures and the report. Imports no torch."""
