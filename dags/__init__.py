"""DAG files, and the packs that their tasks call."""
