"""What a person types and sees: run everything, demo, send, tail, parse."""
