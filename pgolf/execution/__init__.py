"""One run: one configuration with one seed, from the configuration to the record in its folder."""
