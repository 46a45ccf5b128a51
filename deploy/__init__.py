"""Ways to run the fleet: on one machine (`local`), on VMs (`ansible`)."""
