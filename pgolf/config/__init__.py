"""From a command line to a checked configuration and the objects it names. Hydra and OmegaConf stay in here and in
`sweep`.
"""
