"""Events in, decisions out: streams, the listener, the ledger, the relay."""
