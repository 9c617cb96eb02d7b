"""The HTTP API: who is let in, what it answers, and what senders push."""
