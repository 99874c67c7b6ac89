"""The mean of the weights of several models of one shape: python scripts/average.py OUT MODEL MODEL ...

Pieces of one training that start from each other lie in one basin, where the mean is often better than each (Izmailov et al.
2018, arXiv 1803.05407). Tokenizer and configuration are the first model's.
"""

import shutil
import sys
from pathlib import Path

import torch

from journeyman.policies.folder import read_config, read_tokenizer, read_weights, write_model


def main(out: Path, *models: Path) -> None:
    weights = [read_weights(model) for model in models]
    shapes = [{name: w.shape for name, w in own.items()} for own in weights]
    if any(own != shapes[0] for own in shapes):
        raise SystemExit(f"these models do not have one shape: {', '.join(map(str, models))}")
    mean = {name: torch.stack([own[name].float() for own in weights]).mean(0).to(w.dtype) for name, w in weights[0].items()}
    out.mkdir(parents=True)
    write_model(out, read_config(models[0]), mean, read_tokenizer(models[0]))
    if (template := models[0] / "chat_template.jinja").exists():
        shutil.copy(template, out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
