"""Foreign vocabularies, translated into the contract's at the edge."""
