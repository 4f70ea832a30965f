"""How much is stored for each event, how fast events come, and when what there is will be full."""
