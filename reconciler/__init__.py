"""Hivequeen: a declarative GitOps daemon that converges EC2 and Chef on a git repository of environment specs."""

__version__ = "0.1.0"
