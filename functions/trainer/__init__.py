"""Schedule -> the models learn from the week."""
