"""The command line, thin: each command calls the part that owns the matter."""
