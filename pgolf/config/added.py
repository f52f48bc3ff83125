"""Options that came later, so that run folders and packed files of earlier versions stay readable.

An option that is missing has the value with which earlier versions ran. That value is left out of fingerprints and of
packed files, so that both are those of earlier versions.
"""

from collections.abc import Mapping
from typing import Any

NO_TRACKER = {"_target_": "pgolf.trackers.none.NoTracker", "_partial_": True}
# By section of a configuration.
OPTIONS: dict[str, dict[str, Any]] = {
    "launch": {"audit": False, "seeds": "fixed", "most_seeds": 10},
    "train": {"spectra_every": 0},
    "model": {"rope_bf16_positions": False, "resid_mix_init": "standard"},
    "defects": {
        "rope_bf16_positions": False,
        "muon_bf16_factor": False,
        "unscaled_threshold": False,
        "unfloored_vectors": False,
    },
}
# Used only with another value of the option before: {option: (the other option, its value, a valid stand-in)}.
UNUSED = {
    "resid_mix_legendre_keep": ("resid_mix_init", "standard", [1.0]),
    "resid_mix_legendre_first": ("resid_mix_init", "standard", [0.0]),
}
# By class of a component.
OF_CLASS: dict[str, dict[str, Any]] = {
    "pgolf.nn.q_proj.low_rank.LowRank": {"norm": False},
    "pgolf.optim.muon.Muon": {"bf16_factor": False},
    "pgolf.quant.rowwise.Rowwise": {"unfloored_vectors": False},
}


def completed(config: Any) -> Any:
    """Plain data of a configuration, or of some of its sections, with the values of all options that came later."""
    if not isinstance(config, Mapping):
        return config
    whole = {key: _completed_node(node) for key, node in config.items()}
    for section, options in OPTIONS.items():
        if isinstance(whole.get(section), dict):
            whole[section] = {**options, **whole[section]}
    if "launch" in whole:  # a whole configuration
        whole.setdefault("tracker", dict(NO_TRACKER))
    if isinstance(whole.get("model"), dict):
        stand_ins = {key: value for key, (other, x, value) in UNUSED.items() if whole["model"].get(other) == x}
        whole["model"] = {**stand_ins, **whole["model"]}
    return whole


def reduced(config: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `completed`: without the options that came later, where they have their values of before."""
    whole = {key: _reduced_node(node) for key, node in config.items()}
    for section, options in OPTIONS.items():
        if isinstance(node := whole.get(section), dict):
            unused = {
                key for key, (other, value, _) in UNUSED.items() if section == "model" and node.get(other) == value
            }
            whole[section] = {
                key: value
                for key, value in node.items()
                if key not in unused and not (key in options and value == options[key])
            }
    if whole.get("tracker") == NO_TRACKER:
        del whole["tracker"]
    return whole


def _completed_node(node: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    own = {key: _completed_node(value) for key, value in node.items()}
    return {**OF_CLASS.get(str(node.get("_target_")), {}), **own}


def _reduced_node(node: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    later = OF_CLASS.get(str(node.get("_target_")), {})
    return {key: _reduced_node(value) for key, value in node.items() if not (key in later and value == later[key])}
