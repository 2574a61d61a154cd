"""How a program says what a node runs: builders, applications, actor types by their names."""
