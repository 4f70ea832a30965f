"""MongoDB: clients, collections, validators and indexes, leases, error translation."""
