"""One module per channel; each turns a message into a delivery of its own protocol."""
