"""Who may connect, and who may say and hear what."""
