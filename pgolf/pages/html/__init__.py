"""The report as one HTML file. It loads nothing and can be read without its script."""
