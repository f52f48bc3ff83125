"""Results for readers: tables, figures, the report. No torch."""
