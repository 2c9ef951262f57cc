"""Policies as samplers: `transformers` generates in the process of the trainer."""
