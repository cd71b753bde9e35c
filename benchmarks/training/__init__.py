"""How large the models are, and how fast they train and predict."""
