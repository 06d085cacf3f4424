"""kbtf-ci: does the BTF of every kernel module still load?"""

__version__ = "0.1.0"
