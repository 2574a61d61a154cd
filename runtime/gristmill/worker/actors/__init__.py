"""The actors of a worker: their cells, their lives, and the bonds between them."""
