"""What is counted for pages."""
