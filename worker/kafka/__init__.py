"""What everybody who speaks to Kafka needs: whether a topic exists."""
