"""A module that starts a thread when it is imported, so that forking from it is unsafe."""

from __future__ import annotations

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
