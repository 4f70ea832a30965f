"""What producers publish: models, the codec from bytes to events, upcasters and foreign formats."""
