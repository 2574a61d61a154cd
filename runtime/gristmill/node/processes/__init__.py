"""The processes of a node: how the supervisor process and the fork server start and end."""
