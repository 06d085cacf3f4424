"""Build a kernel, boot it, and prove that the BTF of every module still loads."""

__version__ = "0.1.0"
