"""Publishing: reads files of events and writes them to the topic, each line exactly as it stands."""
