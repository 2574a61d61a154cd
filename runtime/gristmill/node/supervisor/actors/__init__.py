"""The actors of a node: their incarnations, families, groups and pools."""
