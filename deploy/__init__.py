"""Ways to run airlane, on one machine (`local`), and beside them what any way needs."""
