"""The supervisor process's core: the tree's decisions, and what becomes of them."""
