"""``Node(in_process=True)``: the parts of a node without processes of their own."""
