"""Wirings of the blocks over depth."""
