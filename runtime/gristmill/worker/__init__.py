"""The worker: mailboxes, handler dispatch, and the process around them."""
