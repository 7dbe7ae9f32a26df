"""What is read from JSON, one model a file."""
