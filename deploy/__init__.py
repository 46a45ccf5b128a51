"""Ways to run airlane, on one machine (`local`) or on many (`fleet`), and what both need."""
