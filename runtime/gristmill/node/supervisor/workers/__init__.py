"""The worker processes of a node: their places, lives, deaths and successors."""
