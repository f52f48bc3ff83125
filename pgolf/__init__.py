"""pgolf: ablation studies on small language models under the rules of the parameter-golf challenge."""

__version__ = "0.1.0"
