"""journeyman: language models that reason better, by expert iteration."""

__version__ = "0.1.0"
