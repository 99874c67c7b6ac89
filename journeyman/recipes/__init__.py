"""Recipes: one function for each paper, which returns a ``Run``. The command line is generated from their signatures."""

from journeyman.recipes.asft import asft
from journeyman.recipes.capo import capo
from journeyman.recipes.cispo import cispo
from journeyman.recipes.clip_cov import clip_cov
from journeyman.recipes.critique_grpo import critique_grpo
from journeyman.recipes.cure import cure
from journeyman.recipes.d3s import d3s
from journeyman.recipes.dapo import dapo
from journeyman.recipes.demonstration_regularised import demonstration_regularised
from journeyman.recipes.dft import dft
from journeyman.recipes.dpo import dpo
from journeyman.recipes.dr_grpo import dr_grpo
from journeyman.recipes.empg import empg
from journeyman.recipes.expert_iteration import expert_iteration
from journeyman.recipes.expo import expo
from journeyman.recipes.fine_grained import fine_grained
from journeyman.recipes.g2rpo import g2rpo
from journeyman.recipes.grpo import grpo
from journeyman.recipes.gspo import gspo
from journeyman.recipes.hapo import hapo
from journeyman.recipes.hispo import hispo
from journeyman.recipes.hpt import hpt
from journeyman.recipes.ipo import ipo
from journeyman.recipes.iterative_dpo import iterative_dpo
from journeyman.recipes.kl_cov import kl_cov
from journeyman.recipes.kto import kto
from journeyman.recipes.luffy import luffy
from journeyman.recipes.nash_mp import nash_mp
from journeyman.recipes.nft import nft
from journeyman.recipes.orpo import orpo
from journeyman.recipes.otr import otr
from journeyman.recipes.ppo import ppo
from journeyman.recipes.prof import prof
from journeyman.recipes.reinforce_pp import reinforce_pp
from journeyman.recipes.repexp import repexp
from journeyman.recipes.rft import rft
from journeyman.recipes.rlgf import rlgf
from journeyman.recipes.rloo import rloo
from journeyman.recipes.sapo import sapo
from journeyman.recipes.sft import sft
from journeyman.recipes.simpo import simpo
from journeyman.recipes.siri import siri
from journeyman.recipes.star import star
from journeyman.recipes.text2grad import text2grad
from journeyman.recipes.ufo import ufo

__all__ = [
    "asft",
    "capo",
    "cispo",
    "clip_cov",
    "critique_grpo",
    "cure",
    "d3s",
    "dapo",
    "demonstration_regularised",
    "dft",
    "dpo",
    "dr_grpo",
    "empg",
    "expert_iteration",
    "expo",
    "fine_grained",
    "g2rpo",
    "grpo",
    "gspo",
    "hapo",
    "hispo",
    "hpt",
    "ipo",
    "iterative_dpo",
    "kl_cov",
    "kto",
    "luffy",
    "nash_mp",
    "nft",
    "orpo",
    "otr",
    "ppo",
    "prof",
    "reinforce_pp",
    "repexp",
    "rft",
    "rlgf",
    "rloo",
    "sapo",
    "sft",
    "simpo",
    "siri",
    "star",
    "text2grad",
    "ufo",
]
