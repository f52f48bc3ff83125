"""Completion of command lines in bash, zsh and fish. It imports neither torch nor Hydra, since it runs at every TAB."""
