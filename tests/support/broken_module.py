"""A module that can't be imported, for the tests of what happens then."""

raise RuntimeError("no such table")
