"""What a person does with the result."""
