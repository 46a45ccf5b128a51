"""A simulated day of a fleet: the planner of hosts against the rule of the Helm chart."""
