"""The node: the supervisor process, its fork server, and the client's side of it."""
