"""What only a real broker shows: files, replicas, transactions, codecs, security. Run by `make test-kafka`."""
