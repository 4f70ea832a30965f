"""Everything a newcomer needs on one machine: servers from wheels, simulated learners, the demo."""
