"""What an actor does in its turn: its messages are decoded, handled, answered."""
