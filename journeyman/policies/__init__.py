"""Policies: models that answer, most of which can be trained."""

from journeyman.policies.decoder_policy import Decoder
from journeyman.policies.hf import HF
from journeyman.policies.load import load_policy
from journeyman.policies.lora import lora, read_lora

__all__ = ["Decoder", "HF", "load_policy", "lora", "read_lora"]
